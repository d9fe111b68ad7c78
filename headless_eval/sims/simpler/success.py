"""When an episode has succeeded: SimplerEnv's predicates on positions and contacts. NumPy only.

They are written down with their tolerances in ``docs/simpler.md``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

IMPULSE = 1e-6  # N s: less is no contact
_GRASP_ANGLE = 80.0  # degrees between what a finger is pushed by and where it opens
DRAWER_OPEN, DRAWER_CLOSED, DRAWER_NOT_SHUT = 0.15, 0.05, 0.05  # metres


def on_target(offset: np.ndarray, source_half: np.ndarray, target_half: np.ndarray, gap: float) -> bool:
    """Return whether an object lies over another.

    Args:
        offset: from the target's centre of mass to the source's, in metres.
        source_half: half of the source's bounding box, turned as a vector as the object lay at first.
        target_half: of the target.
        gap: how far above the target it may be.
    """
    aside = float(np.linalg.norm(offset[:2]))
    within = aside <= float(np.linalg.norm(target_half[:2])) + 0.003
    return bool(within and offset[2] > 0 and offset[2] - target_half[2] - source_half[2] <= gap)


@dataclass
class Lift:
    """Whether a can is lifted, over the steps of an episode.

    Args:
        height: of the can before anything happens, in metres.
    """

    height: float
    _lifted: bool = field(default=False, init=False)
    _high: int = field(default=0, init=False)

    def update(self, grasped: bool, touches: bool, height: float) -> bool:
        """Take a step into account; return whether the can counts as lifted now.

        Args:
            grasped: whether the fingers hold it.
            touches: whether it touches anything but the robot.
            height: of the can now.
        """
        if not grasped:
            self._lifted = False
        above = height - self.height
        self._lifted = self._lifted or (not touches and above > 0.01)
        self._high += self._lifted and above > 0.02
        return bool(self._lifted or self._high >= 5)


def grasps(pushes: Sequence[Sequence[tuple[np.ndarray, np.ndarray]]]) -> bool:
    """Return whether both fingers hold something.

    Args:
        pushes: for each finger, of each of its links: the direction in which the finger opens, and the impulse that
            the thing gives the link, in N s.
    """
    return all(
        max(float(np.linalg.norm(impulse)) for _, impulse in finger) >= IMPULSE
        and min(_angle(direction, impulse) for direction, impulse in finger) <= _GRASP_ANGLE
        for finger in pushes
    )


def _angle(direction: np.ndarray, impulse: np.ndarray) -> float:
    """Return the angle between two vectors in degrees; without an impulse, 90."""
    length = float(np.linalg.norm(direction) * np.linalg.norm(impulse))
    cosine = float(direction @ impulse) / length if length > 1e-12 else 0.0
    return float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))


def near(
    first: Mapping[str, np.ndarray],
    now: Mapping[str, np.ndarray],
    source: str,
    target: str,
    halves: Mapping[str, np.ndarray],
) -> dict[str, bool]:
    """Return the parts of the predicate of ``move_near`` by name; it holds if all do.

    Args:
        first: positions of all objects before anything happened, in metres.
        now: positions of all objects.
        source: which was to be moved.
        target: near which.
        halves: half bounding boxes, turned as vectors as the objects lay at first.
    """
    moved = {name: float(np.linalg.norm(now[name][:2] - first[name][:2])) for name in now}
    dropped = {name: float(first[name][2] - now[name][2]) for name in now}
    apart = {name: float(np.linalg.norm(now[source] - now[name])) for name in now if name != source}
    aside = float(np.linalg.norm(now[source][:2] - now[target][:2]))
    reach = float(np.linalg.norm(halves[source][:2]) + np.linalg.norm(halves[target][:2]))
    others = [name for name in now if name not in (source, target)]
    return {
        "kept_height": all(dropped[name] <= (0.15 if name in (source, target) else 0.02) for name in now),
        "moved_source": moved[source] > 0.03
        and all(moved[source] > moved[name] for name in now if name != source),
        "near_target": aside < reach + 0.10,
        "nearest_to_target": all(apart[target] < apart[name] + 0.01 for name in others),
    }
