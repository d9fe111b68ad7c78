"""Why an episode failed and how far it came: pure functions of its course. The rules are in docs/outcomes.md."""

import numpy as np

from headless_eval.sims.droid.course import Course
from headless_eval.sims.droid.tabletop import CONTROL_HZ

LINGER_STEPS = round(2 * CONTROL_HZ)
"""How long a target is held over the goal at the end, to count as not let go of."""


def reason_of(course: Course) -> str:
    """Return why an episode with this course, which was no success, failed; a key of ``results.outcomes.REASONS``."""
    if course.blame is not None:
        return course.blame
    if not course.moves:
        return "missed_goal" if course.near.any() else "never_reached"
    if course.goal_fallen:
        return "knocked_over"
    if not course.lifted.any():
        return _without_lift(course)
    if course.there:
        return "not_released" if course.held[-1] else "out_of_time"
    if (course.held & course.over_goal)[-LINGER_STEPS:].all():
        return "not_released"
    if course.lifted[-1]:
        return "out_of_time"
    lost = np.flatnonzero(course.lifted)[-1]
    return "missed_goal" if course.at_goal[lost] else "dropped"


def _without_lift(course: Course) -> str:
    if course.other_moved:
        return "wrong_object"
    if course.sunk:
        return "knocked_over"
    return "missed_grasp" if course.near.any() else "never_reached"


def phase_of(course: Course) -> str:
    """Return the furthest phase that the episode came to.

    ``approach``, ``grasp``, ``lift``, ``carry`` or ``place``; ``approach`` or ``press`` where nothing is to be moved.
    """
    if not course.moves:
        return "press" if course.near.any() else "approach"
    if course.there or (course.lifted & course.over_goal).any():
        return "place"
    if course.lifted.any():
        return "carry"
    if course.held.any():
        return "lift"
    return "grasp" if course.near.any() else "approach"


def drops_in(course: Course) -> int:
    """Return how often the target was lost in the air, away from the goal."""
    lifted = np.flatnonzero(course.lifted[:-1])
    return int((~course.held[lifted + 1] & ~course.at_goal[lifted]).sum())
