"""Success predicate of table-top scenes: strict, on geometry and rest, the same for every simulator."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np

from headless_eval.sims.droid.bodies import Body, Vec3
from headless_eval.sims.droid.geometry import rotation
from headless_eval.sims.droid.tabletop import CONTROL_HZ, FINGER_CLOSED, Situation

INSIDE_SHARE = 0.75  # of the target's volume points
SAME_HEIGHT = 0.01  # metres between the container's height now and when the episode began
UPRIGHT_COS = float(np.cos(np.radians(15.0)))  # tilt of the container
OPENING_MARGIN = 0.01  # metres the pads stand wider than the target
CLEAR_DISTANCE = 0.06  # metres from the pads' midpoint to the nearest volume point
REST_LINEAR = 0.02  # metres a second
REST_ANGULAR = 0.3  # radians a second
REST_STEPS = int(np.ceil(0.5 * CONTROL_HZ))  # 0.5 s

# The 2F-85's knuckle: its length, and its angle from the approach axis when open.
_KNUCKLE_LENGTH, _KNUCKLE_ANGLE = 0.0575, 0.6546
_STROKE = 0.085


def pad_opening(gripper_position: float | np.ndarray) -> Any:
    """Return the distance between the pads in metres for gripper positions from 0 (open) to 1 (closed)."""
    turned = np.sin(_KNUCKLE_ANGLE) - np.sin(_KNUCKLE_ANGLE - gripper_position * FINGER_CLOSED)
    return _STROKE - 2 * _KNUCKLE_LENGTH * turned


def points_of(poses: np.ndarray, point: np.ndarray) -> np.ndarray:
    """Return where a point (3,) of a body is in the world, (steps, 3), for its poses (steps, 7)."""
    points: np.ndarray = poses[:, :3] + np.einsum("ijs,j->si", rotation(poses[:, 3:].T), point)
    return points


class SuccessTracker(ABC):
    """Success predicate over one episode: the target is where it belongs, released and at rest for 0.5 s.

    *Where it belongs* is ``is_there``, which a class of scenes defines. *Released*: the robot does not touch the
    target, where the simulator tells, and the gap between the pads is at least 1 cm wider than the target, or the
    target is 6 cm or more from the pads' midpoint. *At rest*: target and goal are slower than 2 cm/s and 0.3 rad/s. All
    three must hold for eight control steps in a row.

    Args:
        target: the first body of the scene.
        point: the point of the target that belongs at the goal's, in the target's frame.
        goal_point: where it belongs, in the frame of the second body.
    """

    def __init__(self, target: Body, point: Vec3 = (0.0, 0.0, 0.0), goal_point: Vec3 = (0.0, 0.0, 0.0)):
        self._point, self._goal_point = np.array(point), np.array(goal_point)
        self._volume = np.array(target.volume)
        self._release_opening = target.grasp_width + OPENING_MARGIN
        self._steps_held = 0
        self._now: Situation | None = None

    def update(self, now: Situation) -> bool:
        """Take the situation after a control step; return whether the task is solved."""
        self._now = now
        self._steps_held = self._steps_held + 1 if self._holds(now) else 0
        return self._steps_held >= REST_STEPS

    @abstractmethod
    def is_there(self, now: Situation) -> bool:
        """Return whether the target is where it belongs, held or not."""

    @property
    def over(self) -> bool:
        """Return whether the episode is lost for good."""
        return False

    def measures(self) -> Mapping[str, float]:
        """Return how far the latest situation is from the goal, in millimetres and degrees."""
        return {} if self._now is None else self._measure(self._now)

    def distances(self, poses: np.ndarray, tcp: np.ndarray) -> np.ndarray:
        """Return the distances between the target's point and the goal's, in metres, (steps,)."""
        apart = points_of(poses[:, 0], self._point) - points_of(poses[:, 1], self._goal_point)
        distances: np.ndarray = np.linalg.norm(apart, axis=1)
        return distances

    def blame(self) -> str | None:
        """Return None: what the bodies did tells all there is to know."""
        return None

    def _measure(self, now: Situation) -> Mapping[str, float]:
        return {"final_error_mm": 1000 * float(self.distances(now.poses[None], now.tcp[None])[0])}

    def _holds(self, now: Situation) -> bool:
        linear, angular = np.split(now.velocities[:2], 2, axis=1)
        if np.linalg.norm(linear, axis=1).max() > REST_LINEAR:
            return False
        if np.linalg.norm(angular, axis=1).max() > REST_ANGULAR:
            return False
        return not now.touched and self.is_there(now) and self._is_released(now)

    def _points(self, now: Situation) -> np.ndarray:
        """Return the points of the target's volume in the world, (N, 3)."""
        points: np.ndarray = self._volume @ rotation(now.target_pose[3:]).T + now.target_pose[:3]
        return points

    def _is_released(self, now: Situation) -> bool:
        if pad_opening(now.gripper_position) >= self._release_opening:
            return True
        return bool(np.linalg.norm(self._points(now) - now.tcp, axis=1).min() >= CLEAR_DISTANCE)


class ContainerTracker(SuccessTracker):
    """The target is in the container.

    At least 75 % of the points spread through the target's volume, and their mean, are within the container's interior
    (its actual shape, floor to rim), and the container stands within 15 degrees of upright, as high as it stood when
    the episode began, to within 1 cm: neither on the floor nor held in the air.
    """

    def __init__(self, target: Body, container: Body):
        if container.interior is None:
            raise ValueError(f"{container.name} has no interior")
        self._interior = container.interior
        middle = (self._interior.floor + self._interior.rim) / 2
        super().__init__(target, tuple(np.mean(target.volume, axis=0)), (0.0, 0.0, middle))
        self._stood: float | None = None

    def update(self, now: Situation) -> bool:
        """Take the situation after a control step; return whether the task is solved."""
        if self._stood is None:
            self._stood = float(now.goal_pose[2])
        return super().update(now)

    def is_there(self, now: Situation) -> bool:
        """Return whether the target lies in the upright container."""
        turn = rotation(now.goal_pose[3:])
        if turn[2, 2] < UPRIGHT_COS:
            return False
        if self._stood is not None and abs(now.goal_pose[2] - self._stood) > SAME_HEIGHT:
            return False
        local = (self._points(now) - now.goal_pose[:3]) @ turn
        centre = local.mean(axis=0, keepdims=True)
        return bool(
            self._interior.contains(centre)[0] and self._interior.contains(local).mean() >= INSIDE_SHARE
        )
