"""The pitfalls that are looked for: what each did to published numbers, as reported, and where."""

from dataclasses import dataclass
from typing import NamedTuple

_VLA_EVAL = (
    "https://github.com/allenai/vla-evaluation-harness/blob/main/docs/reproductions/common-pitfalls.md"
)


class Report(NamedTuple):
    """A report of damage: the numbers, a short name of the source, and its address."""

    damage: str
    source: str
    url: str


@dataclass(frozen=True)
class Pitfall:
    """A pitfall by name.

    Args:
        name: what is mixed up.
        reports: what it did elsewhere; empty where nobody has published a number.
    """

    name: str
    reports: tuple[Report, ...] = ()


PITFALLS = {
    "another_robot": Pitfall("statistics of another robot"),
    "rotation": Pitfall(
        "quaternion: order and sign",
        (Report("83 instead of 97 % (LIBERO Goal), 56 instead of 95 % (Long)", "vla-eval", _VLA_EVAL),),
    ),
    "quantiles": Pitfall(
        "mean and deviation, or quantiles",
        (
            Report(
                "about 0 % (pi0_fast_libero)",
                "openpi #971",
                "https://github.com/Physical-Intelligence/openpi/pull/971",
            ),
            Report("0 % with q01, q99 for min, max (starVLA)", "vla-eval", _VLA_EVAL),
        ),
    ),
    "relative": Pitfall(
        "actions relative or absolute",
        (Report("0 of 11 episodes (MolmoBot)", "vla-eval", _VLA_EVAL),),
    ),
    "gripper": Pitfall(
        "gripper: sign and range",
        (Report("0 % with another range (MolmoBot)", "vla-eval", _VLA_EVAL),),
    ),
    "unread": Pitfall(
        "a part of the observation not sent",
        (Report("state: 0 % (X-VLA), 25 instead of 62 % (GR00T)", "vla-eval", _VLA_EVAL),),
    ),
    "crop": Pitfall(
        "pictures: resize and crop",
        (Report("73.3 instead of 76.4 % without the crop (OpenVLA)", "vla-eval", _VLA_EVAL),),
    ),
    "turned": Pitfall(
        "pictures turned",
        (
            Report(
                "0 of 5 instead of 5 of 5 (GR00T, LIBERO)",
                "strands-labs/robots #172",
                "https://github.com/strands-labs/robots/pull/172",
            ),
        ),
    ),
    "cameras": Pitfall("cameras swapped"),
    "horizon": Pitfall(
        "actions executed of a chunk",
        (
            Report(
                "80 instead of 115 of 150 (SmolVLA, LIBERO Spatial, 50 for 10)",
                "lerobot #4614",
                "https://github.com/huggingface/lerobot/issues/4614",
            ),
            Report("0 instead of 30 % (GR00T, WidowX, 16 for 1)", "vla-eval", _VLA_EVAL),
        ),
    ),
    "success": Pitfall(
        "success at the end or at any time",
        (Report("29 or 75 % (DB-CogACT, stacking)", "vla-eval", _VLA_EVAL),),
    ),
    "prompt": Pitfall("instruction in another form"),
}
"""The pitfalls, by the key of their findings, in the order in which they are shown."""


@dataclass(frozen=True)
class Finding:
    """What was found of a pitfall.

    Args:
        pitfall: its key in ``PITFALLS``.
        status: one of ``policies.checks``.
        text: what was seen.
        change: what to change, or to compare by hand; empty where all is well.
    """

    pitfall: str
    status: str
    text: str
    change: str = ""
