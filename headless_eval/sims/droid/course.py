"""What happened in an episode, step by step, as far as outcomes and reasons of failure need it.

Computed once, at the episode's end, from the situations after its control steps, over all of them at a time.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headless_eval.sims.droid.bodies import Body, Cuboid, Frustum
from headless_eval.sims.droid.geometry import rotation
from headless_eval.sims.droid.success import (
    CLEAR_DISTANCE,
    OPENING_MARGIN,
    UPRIGHT_COS,
    pad_opening,
    points_of,
)
from headless_eval.sims.droid.tabletop import Situation, Tracker

NEAR = CLEAR_DISTANCE  # metres from the pads' midpoint to the target, from which it counts as reached
HELD = 0.03  # the same, within which it can be held
LIFTED = 0.02  # metres that a body's middle is raised by
SUNK = 0.008
"""Metres that a target's middle is lower than at first: it stood and now lies, or it has left the table."""

BESIDE = 0.05  # metres around the goal's footprint that still count as at the goal
FALLEN = 0.01  # metres that a goal is lower than at first
OTHER_STEPS = 3  # control steps that another body has to be in the air
_BRIDGED = 2  # control steps of contact lost that do not end a grasp


@dataclass(frozen=True)
class Course:
    """An episode's course; arrays have an entry for each control step.

    Args:
        distance: of what is to be moved from where it belongs, in metres.
        near: whether the gripper is within 6 cm of the target.
        held: whether the gripper holds the target.
        lifted: whether the target is held and raised by more than 2 cm.
        over_goal: whether the target's middle is over the goal's footprint.
        at_goal: the same with 5 cm more around it.
        sunk: whether the target lies lower in the end than it stood at first.
        there: whether the target is where it belongs in the end, whatever still holds or moves it.
        goal_fallen: whether the goal lies on its side or off the table in the end.
        other_moved: whether another body was lifted, or is at the goal in the end.
        moves: whether there is something to move; else the gripper itself is to get somewhere.
        blame: what only the task knows to have gone wrong, such as ``spilled``.
    """

    distance: np.ndarray
    near: np.ndarray
    held: np.ndarray
    lifted: np.ndarray
    over_goal: np.ndarray
    at_goal: np.ndarray
    sunk: bool = False
    there: bool = False
    goal_fallen: bool = False
    other_moved: bool = False
    moves: bool = True
    blame: str | None = None


def course_of(bodies: Sequence[Body], tracker: Tracker, situations: Sequence[Situation]) -> Course:
    """Return the course of an episode.

    Args:
        bodies: the scene's, in its order.
        tracker: that of the episode, after its last step.
        situations: after each control step; at least one.
    """
    target, goal = bodies[:2]
    poses = np.array([now.poses for now in situations])
    tcp = np.array([now.tcp for now in situations])
    distance = tracker.distances(poses, tcp)
    if target.fixed:
        none = np.zeros(len(situations), bool)
        return Course(distance, distance < NEAR, none, none, none, none, moves=False, blame=tracker.blame())
    middle = points_of(poses[:, 0], np.mean(target.volume, axis=0))
    reach = _reach(poses[:, 0], tcp, np.array(target.volume))
    held = bridged((reach < HELD) & _grips(situations, target))
    aside = np.linalg.norm(middle[:, :2] - poses[:, 1, :2], axis=1)
    height = middle[:, 2] - middle[0, 2]
    return Course(
        distance,
        near=reach < NEAR,
        held=held,
        lifted=held & (height > LIFTED),
        over_goal=aside < _radius(goal),
        at_goal=aside < _radius(goal) + BESIDE,
        sunk=bool(height[-1] < -SUNK),
        there=tracker.is_there(situations[-1]),
        goal_fallen=not goal.fixed and _has_fallen(poses[:, 1]),
        other_moved=_other_moved(bodies, poses, tcp, _radius(goal)),
        blame=tracker.blame(),
    )


def bridged(flags: np.ndarray) -> np.ndarray:
    """Return flags (steps,) with gaps of at most two steps filled."""
    filled = flags.copy()
    true = np.flatnonzero(flags)
    for before in np.flatnonzero((np.diff(true) > 1) & (np.diff(true) <= _BRIDGED + 1)):
        filled[true[before] : true[before + 1]] = True
    return filled


def _reach(pose: np.ndarray, tcp: np.ndarray, volume: np.ndarray) -> np.ndarray:
    """Return the distance between the pads' midpoint and the nearest point of a body's volume, (steps,)."""
    local = np.einsum("jis,sj->si", rotation(pose[:, 3:].T), tcp - pose[:, :3])
    squared = (local**2).sum(axis=1)[:, None] - 2 * local @ volume.T + (volume**2).sum(axis=1)
    reach: np.ndarray = np.sqrt(np.maximum(squared.min(axis=1), 0.0))
    return reach


def _grips(situations: Sequence[Situation], target: Body) -> np.ndarray:
    """Return whether the pads are as far apart as around the target, and touch it, where that is told."""
    opening = pad_opening(np.array([now.gripper_position for now in situations]))
    # Closed on nothing, they are nearer to each other.
    grips: np.ndarray = opening >= target.grasp_width / 2
    if situations[0].contacts is None:
        return grips & (opening < target.grasp_width + OPENING_MARGIN)
    return grips & np.array([now.touched for now in situations])


def _radius(goal: Body) -> float:
    """Return the radius of a goal on the table."""
    inside: Frustum | Cuboid | None = goal.interior
    if isinstance(inside, Cuboid):
        return max(goal.footprint, float(np.hypot(inside.half_x, inside.half_y)))
    return max(goal.footprint, inside.top_radius if inside else 0.0)


def _has_fallen(pose: np.ndarray) -> bool:
    """Return whether a body (poses (steps, 7)) that stood at first is tipped or lower in the end."""
    return bool(rotation(pose[-1, 3:])[2, 2] < UPRIGHT_COS or pose[-1, 2] < pose[0, 2] - FALLEN)


def _other_moved(bodies: Sequence[Body], poses: np.ndarray, tcp: np.ndarray, radius: float) -> bool:
    """Return whether one of the further bodies was lifted, or was brought to the goal."""
    free = [index for index, body in enumerate(bodies) if index > 1 and not body.fixed]
    if not free:
        return False
    places = poses[:, free, :3]
    raised = places[..., 2] - places[0, :, 2] > LIFTED
    carried = raised & (np.linalg.norm(places - tcp[:, None], axis=2) < 2 * NEAR)
    if (carried.sum(axis=0) >= OTHER_STEPS).any():
        return True
    moved = np.linalg.norm(places[-1] - places[0], axis=1) > BESIDE
    inside = np.linalg.norm(places[-1, :, :2] - poses[-1, 1, :2], axis=1) < radius / 2
    return bool((moved & inside).any())
