"""Situations made up: two bodies at rest and an open gripper well above them."""

from dataclasses import replace

import numpy as np

from headless_eval.sims.droid.tabletop import Situation


def settled(target, goal, tcp=(0.5, 0.2, 0.3), gripper_position=0.0):
    """Return a situation with the target and its goal at these poses (7,)."""
    return Situation(np.array([target, goal], float), np.zeros((2, 6)), np.array(tcp), gripper_position)


def moved(situation, index=0, by=(0.0, 0.0, 0.0)):
    """Return the situation with one body elsewhere by so many metres."""
    poses = situation.poses.copy()
    poses[index, :3] += by
    return replace(situation, poses=poses)


def turned(situation, quat, index=0):
    """Return the situation with one body turned like that."""
    poses = situation.poses.copy()
    poses[index, 3:] = quat
    return replace(situation, poses=poses)


def moving(situation, velocity, index=0):
    """Return the situation with one body moving at this velocity (6,)."""
    velocities = situation.velocities.copy()
    velocities[index] = velocity
    return replace(situation, velocities=velocities)


def steps_to_success(tracker, situation, steps=30):
    """Return after how many control steps of this situation the tracker tells success; None for never."""
    return next((step for step in range(1, steps + 1) if tracker.update(situation)), None)
