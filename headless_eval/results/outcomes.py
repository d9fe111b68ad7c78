"""Outcomes finer than success: what each is, its unit, which direction is worse; and the reasons of failure.

An outcome is an entry of ``EpisodeRecord.metrics``. Those that are not listed here, of other simulators, have a unit in
the manifest and no direction.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Direction = Literal["more", "less"]


@dataclass(frozen=True)
class Quantity:
    """An outcome that every run can have.

    Args:
        name: its name in records; the column ``metric_<name>`` of tables.
        title: what people call it.
        unit: its unit, ``""`` for a number; None if it is the unit of the robot's commands, which the manifest's
            ``metrics`` states.
        worse: whether more of it or less is worse.
        sentence: what it is, in a sentence without its full stop.
        formula: how it is computed.
        source: where the definition comes from; empty if it is this project's.
    """

    name: str
    title: str
    unit: str | None
    worse: Direction
    sentence: str
    formula: str
    source: str = ""


_SPARC = (
    "Balasubramanian, Melendez-Calderon, Roby-Brami, Burdet, On the analysis of movement smoothness, Journal of "
    "NeuroEngineering and Rehabilitation 12:112 (2015), doi 10.1186/s12984-015-0090-9"
)

_ALL = (
    Quantity(
        "time_to_success_s",
        "time to success",
        "s",
        "more",
        "Simulated time until the task was solved; successes only",
        "control steps / control rate",
    ),
    Quantity(
        "path_length",
        "path length",
        None,
        "more",
        "Length of the way that the arm was commanded to go, without grippers",
        "Σ |q(t+1) − q(t)|, q the commanded positions",
    ),
    Quantity(
        "smoothness_sparc",
        "smoothness (SPARC)",
        "",
        "less",
        "Spectral arc length of the commanded speed: near −1.4 for one smooth movement, lower for many short ones",
        "−∫ √((1/ω_c)² + (dV̂/dω)²) dω from 0 to ω_c, V̂ the speed's spectrum over its value at 0, ω_c the last "
        "frequency up to 10 Hz and half the control rate where V̂ ≥ 0.05",
        _SPARC,
    ),
    Quantity(
        "jerk",
        "jerk",
        None,
        "more",
        "Mean length of the third derivative of the commanded positions",
        "mean |q(t+3) − 3 q(t+2) + 3 q(t+1) − q(t)| · rate³",
    ),
    Quantity(
        "largest_jump",
        "largest jump",
        None,
        "more",
        "Largest change of the arm's command from one control step to the next",
        "max |q(t+1) − q(t)|",
    ),
    Quantity(
        "final_error_mm",
        "final error",
        "mm",
        "more",
        "Distance of the target from its goal when the episode ended",
        "|target − goal| after the last step",
    ),
    Quantity(
        "final_error_deg",
        "final angle error",
        "°",
        "more",
        "Angle between the target and its goal when the episode ended, of the turns that look alike the smallest",
        "angle of the rotation from goal to target after the last step",
    ),
    Quantity(
        "smallest_distance_mm",
        "smallest distance",
        "mm",
        "more",
        "Smallest distance of the target from its goal during the episode",
        "min over steps of |target − goal|",
    ),
    Quantity(
        "depth_mm",
        "depth",
        "mm",
        "less",
        "How far the peg was in its hole when the episode ended",
        "height of the rim − height of the peg's lower end",
    ),
    Quantity(
        "height_mm",
        "height",
        "mm",
        "less",
        "How high the cube stood when the episode ended",
        "height of the cube's lower end over the table",
    ),
    Quantity(
        "largest_tilt_deg",
        "largest tilt",
        "°",
        "more",
        "How far the tray tilted on the way, for what lies in it",
        "max over steps of the angle between the tray's normal and gravity less its acceleration",
    ),
    Quantity(
        "drops",
        "drops",
        "",
        "more",
        "How often the target left the gripper in the air, away from its goal",
        "number of such steps",
    ),
    Quantity(
        "grasp_attempts",
        "grasp attempts",
        "",
        "more",
        "How often the gripper closed near the target",
        "number of such closings",
    ),
    Quantity(
        "collisions",
        "collisions",
        "",
        "more",
        "How often the robot began to touch what it has no business with: table, container, distractors",
        "number of beginnings of contact, by body touched",
    ),
    Quantity(
        "joint_limit_gap_rad",
        "joint limit gap",
        "rad",
        "less",
        "Smallest distance of a joint of the arm from its limit during the episode",
        "min over steps and joints of min(q − q_low, q_high − q)",
    ),
)

QUANTITIES: Mapping[str, Quantity] = {one.name: one for one in _ALL}
"""The outcomes with a direction, by name, in the order of tables."""

REASONS: Mapping[str, str] = {
    "never_reached": "The gripper never came near the target",
    "missed_grasp": "The gripper came near the target and never held it",
    "knocked_over": "The target or the container was knocked over or off the table, and not by letting go of it",
    "wrong_object": "Another object than the target was lifted, brought to the goal or pressed",
    "dropped": "The target was lifted and lost on the way",
    "missed_goal": "The target was let go of at the goal and came to lie beside it or outside its tolerance, or the "
    "hand came down beside it",
    "spilled": "What was carried fell off or out",
    "not_released": "The target was brought to the goal and not let go of",
    "out_of_time": "The target was on its way when the time was up",
}
"""Reasons of failure by name: a sentence each, without its full stop."""


def stem_of(name: str) -> str:
    """Return an outcome's name without its unit: ``final_error`` for ``final_error_mm``."""
    stem, _, suffix = name.rpartition("_")
    return stem if suffix in ("s", "mm", "deg", "rad") else name


def unit_of(name: str, manifest: Mapping[str, Any]) -> str:
    """Return the unit of an outcome in a run; empty for a number, and where nothing states one.

    Args:
        name: the outcome's name.
        manifest: the run's.
    """
    stated = (manifest.get("metrics") or {}).get(name)
    known = QUANTITIES.get(name)
    return str(stated if stated is not None else (known and known.unit) or "")


def worse_of(name: str) -> Direction | None:
    """Return which direction of an outcome is worse; None if it is not known."""
    return QUANTITIES[name].worse if name in QUANTITIES else None
