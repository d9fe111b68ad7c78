"""Outcomes of an episode on the table, beside success: numbers, the reason of a failure, the furthest phase."""

from collections.abc import Mapping, Sequence

import numpy as np

from headless_eval.contracts.simulator import EpisodeOutcome
from headless_eval.sims.droid.bodies import Body
from headless_eval.sims.droid.course import Course, course_of
from headless_eval.sims.droid.failure import drops_in, phase_of, reason_of
from headless_eval.sims.droid.tabletop import ARM_LIMITS, ROBOT, Situation, Tracker

UNITS: Mapping[str, str] = {
    "final_error_mm": "mm",
    "final_error_deg": "°",
    "smallest_distance_mm": "mm",
    "drops": "",
    "grasp_attempts": "",
    "collisions": "",
    "joint_limit_gap_rad": "rad",
    "depth_mm": "mm",
    "height_mm": "mm",
    "largest_tilt_deg": "°",
}
"""The units of the outcomes that a table-top scene can have."""

CLOSING = 0.15  # of the gripper's way, that it closes by to count as one attempt


class Watch:
    """Follows an episode with its tracker, and keeps what its outcome is made of.

    Args:
        bodies: the scene's, in its order.
        tracker: a new one.
    """

    def __init__(self, bodies: Sequence[Body], tracker: Tracker) -> None:
        self._bodies, self._tracker = bodies, tracker
        self._situations: list[Situation] = []
        self._solved = False

    def update(self, now: Situation) -> bool:
        """Take the situation after a control step; return whether the task is solved."""
        self._situations.append(now)
        self._solved = self._tracker.update(now)
        return self._solved

    @property
    def over(self) -> bool:
        """Return whether the episode is lost, and ends."""
        return self._tracker.over

    def outcome(self) -> EpisodeOutcome:
        """Return what came of the episode so far."""
        return outcome_of(self._bodies, self._tracker, self._situations, self._solved)


def outcome_of(
    bodies: Sequence[Body], tracker: Tracker, situations: Sequence[Situation], success: bool
) -> EpisodeOutcome:
    """Return what came of an episode; what a simulator does not tell is left out.

    Args:
        bodies: the scene's, in its order.
        tracker: that of the episode, after its last step.
        situations: after each control step.
        success: whether the task was solved.
    """
    if not situations:
        return EpisodeOutcome()
    course = course_of(bodies, tracker, situations)
    metrics = {
        **tracker.measures(),
        "smallest_distance_mm": 1000 * float(course.distance.min()),
        **_of_the_hand(bodies[0], course, situations),
        **_of_contacts(bodies, situations),
        **_of_joints(situations),
    }
    return EpisodeOutcome(
        {name: float(f"{value:.6g}") for name, value in metrics.items()},
        None if success else reason_of(course),
        phase_of(course),
    )


def _of_the_hand(target: Body, course: Course, situations: Sequence[Situation]) -> dict[str, float]:
    if target.fixed:
        return {}
    closings = closings_of([now.gripper_position for now in situations])
    return {"drops": drops_in(course), "grasp_attempts": int(course.near[closings].sum())}


def closings_of(positions: Sequence[float]) -> list[int]:
    """Return the steps at which a gripper has closed by ``CLOSING`` since it was widest.

    After such a step the gripper has to open by as much before it can close again.

    Args:
        positions: of the gripper after each control step, from 0 (open) to 1 (closed); at least one.
    """
    found: list[int] = []
    widest, closed, closing = positions[0], positions[0], False
    for step, position in enumerate(positions):
        widest, closed = min(widest, position), max(closed, position)
        if not closing and position >= widest + CLOSING:
            found.append(step)
            closing, closed = True, position
        elif closing and position <= closed - CLOSING:
            closing, widest = False, position
    return found


def _of_contacts(bodies: Sequence[Body], situations: Sequence[Situation]) -> dict[str, float]:
    """Return how often the robot began to touch anything but the target."""
    if situations[0].contacts is None:
        return {}
    touched = touched_by_robot(situations, len(bodies))
    # Where there is nothing to move, all bodies are there to be touched.
    other = touched[:, -1:] if bodies[0].fixed else touched[:, 1:]
    begun = other & ~np.vstack([np.zeros_like(other[:1]), other[:-1]])
    return {"collisions": int(begun.sum())}


def touched_by_robot(situations: Sequence[Situation], bodies: int) -> np.ndarray:
    """Return whether the robot touches each of the scene's bodies, and then anything else: (steps, bodies + 1)."""
    pairs = [np.zeros((0, 2), int) if now.contacts is None else now.contacts for now in situations]
    steps = np.repeat(np.arange(len(pairs)), [len(one) for one in pairs])
    together = np.concatenate(pairs)
    of_robot = together.min(axis=1) == ROBOT
    touched = np.zeros((len(pairs), bodies + 1), bool)
    touched[steps[of_robot], together[of_robot].max(axis=1)] = True  # ELSE is -1, the last column
    return touched


def _of_joints(situations: Sequence[Situation]) -> dict[str, float]:
    if situations[0].joints is None:
        return {}
    joints = np.array([now.joints for now in situations])
    low, high = np.array(ARM_LIMITS)
    return {"joint_limit_gap_rad": float(np.minimum(joints - low, high - joints).min())}
