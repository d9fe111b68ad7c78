"""Outcomes of an episode that its executed actions tell: how long, how far and how smoothly the arm was commanded.

Definitions and sources are in ``results.outcomes``.
"""

import numpy as np

from headless_eval.contracts.robots import Robot

SPARC_THRESHOLD = 0.05  # of the spectrum's value at 0 Hz
SPARC_CUTOFF_HZ = 10.0
_SPARC_PADDING = 4  # the transform is 2**4 times as long as the next power of two


class ActionOutcomes:
    """Measures the actions that a robot's arm was given; grippers are left out.

    Where an arm's dimensions differ in their unit, such as metres and radians, those with the first's unit are
    measured. Commands that are changes of the present pose are added up to positions.

    Args:
        robot: the one whose actions are measured.
        control_hz: control steps a second.

    Attributes:
        units: the unit of each outcome, by name; ``""`` for a number.
    """

    def __init__(self, robot: Robot, control_hz: float) -> None:
        self._hz = control_hz
        self._dims = robot.action_dims
        units = [
            group.unit if isinstance(group.unit, str) else group.unit[index]
            for group in robot.actions
            for index in range(group.dims)
        ]
        changes = [group.hold is None for group in robot.actions for _ in group.names]
        arm = ["gripper" not in f"{group.name} {name}" for group in robot.actions for name in group.names]
        first = arm.index(True) if True in arm else 0
        self._columns = np.flatnonzero(
            [one and unit == units[first] for one, unit in zip(arm, units, strict=True)]
        )
        self._changes = np.array(changes)[self._columns]
        # A range, such as "-1 to 1", is not a unit.
        unit = units[first] if units[first][:1].isalpha() else ""
        self.units = {
            "time_to_success_s": "s",
            "path_length": unit,
            "smoothness_sparc": "",
            "jerk": f"{unit or 1}/s³",
            "largest_jump": unit,
        }

    def __call__(self, actions: np.ndarray, success: bool) -> dict[str, float]:
        """Return the outcomes of executed actions, (steps, action_dims), to six digits.

        What cannot be told of so few steps, or of an arm that was not moved, is left out; so is the time to success
        of a failure.
        """
        found: dict[str, float | None] = {"time_to_success_s": len(actions) / self._hz if success else None}
        if actions.ndim == 2 and actions.shape[1] == self._dims and len(self._columns):
            commands = actions[:, self._columns].astype(np.float64)
            positions = np.where(self._changes, np.cumsum(commands, axis=0), commands)
            found |= _movement(positions, self._hz)
        return {name: float(f"{value:.6g}") for name, value in found.items() if value is not None}


def _movement(positions: np.ndarray, hz: float) -> dict[str, float | None]:
    """Return the outcomes of commanded positions, (steps, dims)."""
    steps = np.linalg.norm(np.diff(positions, axis=0), axis=1)
    return {
        "path_length": float(steps.sum()),
        "smoothness_sparc": spectral_arc_length(steps, hz),
        "jerk": mean_jerk(positions, hz),
        "largest_jump": float(steps.max()) if len(steps) else None,
    }


def mean_jerk(positions: np.ndarray, hz: float) -> float | None:
    """Return the mean length of the third derivative of positions, (steps, dims), at ``hz``; None under four steps."""
    if len(positions) < 4:
        return None
    return float(np.linalg.norm(np.diff(positions, n=3, axis=0), axis=1).mean() * hz**3)


def spectral_arc_length(speed: np.ndarray, hz: float) -> float | None:
    """Return the spectral arc length (SPARC) of a speed profile, (steps,), at ``hz``: 0 or less, less is rougher.

    Source: Balasubramanian, Melendez-Calderon, Roby-Brami, Burdet, "On the analysis of movement smoothness", Journal of
    NeuroEngineering and Rehabilitation 12:112 (2015). Below 20 Hz the spectrum ends at ``hz / 2``, not at the paper's
    10 Hz.

    Returns:
        None for fewer than two steps or no movement at all.
    """
    if len(speed) < 2 or not speed.any():
        return None
    size = 2 ** (int(np.ceil(np.log2(len(speed)))) + _SPARC_PADDING)
    frequency = np.fft.rfftfreq(size, 1 / hz)
    magnitude = np.abs(np.fft.rfft(speed, size))
    within = frequency <= SPARC_CUTOFF_HZ
    frequency, magnitude = frequency[within], magnitude[within] / magnitude[0]
    last = np.flatnonzero(magnitude >= SPARC_THRESHOLD)[-1]
    if last == 0:
        return None
    along = np.diff(frequency[: last + 1]) / frequency[last]
    return float(-np.hypot(along, np.diff(magnitude[: last + 1])).sum())
