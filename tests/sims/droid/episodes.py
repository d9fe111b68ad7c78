"""Episodes made up step by step: what the hand does, and what the bodies do about it."""

from dataclasses import replace
from unittest import mock

import numpy as np

from headless_eval.sims.droid.course import course_of
from headless_eval.sims.droid.geometry import yaw_quat
from headless_eval.sims.droid.tabletop import ELSE, ROBOT, Situation

HEIGHT = 0.15  # metres that a target is lifted by


class Story:
    """An episode in a scene whose bodies stand apart: each method adds control steps and returns the story."""

    def __init__(self, scene, contacts=True):
        self.scene, self._told = scene, contacts
        places = [(0.45, -0.15), (0.5, 0.2), (0.4, 0.0), (0.62, -0.3)][: len(scene.bodies)]
        self._poses = np.array([[x, y, 0.0, *yaw_quat(0.0)] for x, y in places])
        self._tcp, self._gripper = np.array([0.4, 0.0, 0.4]), 0.0
        self._holds: int | None = None
        self.blame = None
        self.situations = []
        self._step()

    @property
    def goal(self):
        """Where the goal stands, (2,)."""
        return self._poses[1, :2]

    def _step(self, steps=1):
        pairs = [(number, ELSE) for number in range(len(self._poses))]
        pairs += [] if self._holds is None else [(ROBOT, self._holds), (self._holds, ROBOT)]
        for _ in range(steps):
            now = Situation(
                self._poses.copy(), np.zeros((len(self._poses), 6)), self._tcp.copy(), self._gripper
            )
            now = replace(now, joints=np.zeros(7), contacts=np.array(pairs) if self._told else None)
            self.situations.append(now)
        return self

    def _move(self, to, steps=6):
        """Move the hand, and what it holds, along a straight line."""
        way = (np.array(to) - self._tcp) / steps
        for _ in range(steps):
            self._tcp = self._tcp + way
            if self._holds is not None:
                self._poses[self._holds, :3] += way
            self._step()
        return self

    def _rise(self, height):
        return self._move(self._tcp + np.array([0.0, 0.0, height]))

    def wait(self, steps):
        """Nothing moves."""
        return self._step(steps)

    def reach(self):
        """The hand goes to the target."""
        return self._move(self._poses[0, :3] + [0, 0, 0.035])

    def close(self, empty=False):
        """The gripper closes: on the target, or on nothing."""
        self._gripper = 1.0 if empty else 0.4
        self._holds = None if empty else 0
        return self._step(2)

    def open(self):
        """The gripper opens and goes away."""
        self._gripper, self._holds = 0.0, None
        return self._step(2).raise_hand()

    def raise_hand(self):
        """The hand goes up."""
        return self._rise(0.2)

    def lift(self):
        """The hand lifts what it holds."""
        return self._rise(HEIGHT)

    def lower(self):
        """The hand lowers what it holds to the table, or the container's floor."""
        return self._rise(0.012 - self._poses[0, 2])

    def carry(self, share, beside=0.0):
        """The hand carries what it holds a part of the way to the goal, or to a place beside it."""
        to = self.goal + np.array([beside, 0.0])
        way = (to - self._poses[0, :2]) * share
        return self._move(self._tcp + np.append(way, 0.0))

    def drop(self, away=0.0, inside=False):
        """What is held slips out and falls, and comes to lie beside the goal or in it."""
        self._gripper, self._holds = (0.0 if inside else 1.0), None
        while self._poses[0, 2] > 0.03:
            self._poses[0, 2] -= 0.03
            self._step()
        self._poses[0, 0] += away
        self._poses[0, 2] = 0.012 if inside else 0.0
        return self._step(4)

    def put(self, number, at=None, quat=None, rise=0.0, shift=(0.0, 0.0)):
        """A body is suddenly elsewhere."""
        pose = self._poses[number]
        pose[:2] = (pose[:2] if at is None else at) + np.array(shift)
        pose[2] += rise
        if quat is not None:
            pose[3:] = quat
        return self._step(5)

    def grab_other(self, number):
        """The hand lifts another body and sets it down again."""
        self._move(self._poses[number, :3] + [0, 0, 0.02])
        self._gripper, self._holds = 0.4, number
        self._rise(HEIGHT)._rise(-HEIGHT)
        return self.open()

    def forget_contacts(self, index):
        """The robot touches nothing in one step."""
        self.situations[index] = replace(self.situations[index], contacts=np.zeros((0, 2), int))

    def tracker(self):
        """Return the scene's tracker after the episode."""
        tracker = self.scene.tracker(self.scene.draw(np.random.default_rng(0)))
        for now in self.situations:
            tracker.update(now)
        return tracker

    def course(self):
        """Return what happened."""
        tracker = self.tracker()
        with mock.patch.object(tracker, "blame", return_value=self.blame):
            return course_of(self.scene.bodies, tracker, self.situations)
