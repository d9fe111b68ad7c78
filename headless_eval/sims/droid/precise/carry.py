"""Family ``carry``: a full tray is carried to a zone; the level is how far it may tilt on the way, in degrees.

What counts is the angle between the tray's normal and what its contents feel as vertical: gravity less the tray's
acceleration. A tray that is held level but jerked spills, too.
"""

import math
from collections.abc import Mapping

import numpy as np

from headless_eval.sims.droid.bodies import Body, Shape, round_wall
from headless_eval.sims.droid.geometry import rotation
from headless_eval.sims.droid.precise.family import GoalScene, GradedTracker
from headless_eval.sims.droid.tabletop import CONTROL_HZ, InitialState, Situation

GRAVITY = 9.81  # metres per second squared
LIFTED = 0.01
"""Height of the tray above the table from which it counts as carried, in metres."""

TOLERANCE = 0.03  # metres from the zone's middle: the whole tray lies in the zone
_RADIUS, _ZONE = 0.06, 0.095  # metres, radii of tray and zone
_HANDLE = (0.01, 0.02, 0.036)  # metres, half-lengths


class CarryScene(GoalScene):
    """The tray, which has a handle in its middle, in the zone, a disc on the table."""

    family = "carry"
    says = "carry the tray to the yellow zone without spilling"
    levels = (30.0, 20.0, 14.0, 9.0, 6.0, 4.0, 3.0)
    taught = (30.0, 20.0, 14.0, 9.0, 6.0)
    default = 4.0
    unit = "degrees"

    def _target(self) -> Body:
        rgb, water, handle = (0.85, 0.86, 0.88), (0.15, 0.45, 0.85), (0.2, 0.2, 0.22)
        shapes = (
            Shape("cylinder", (_RADIUS, 0.003), rgb, (0, 0, 0.003)),
            *round_wall(12, _RADIUS - 0.004, _RADIUS, 0.012, 0.004, rgb, 0.005),
            Shape("cylinder", (_RADIUS - 0.003, 0.0005), water, (0, 0, 0.013), collides=False),
            Shape("box", _HANDLE, handle, (0, 0, 0.006 + _HANDLE[2])),
        )
        top = 0.006 + 2 * _HANDLE[2]
        volume = tuple((0.0, y, z) for y in (-0.015, 0.0, 0.015) for z in (0.05, top))
        return Body(
            "tray",
            shapes,
            mass=0.15,
            footprint=_RADIUS + 0.006,
            volume=volume,
            grasp_width=2 * _HANDLE[0],
            grasp_height=0.058,
            grasp_symmetry=2,
        )

    def _goal(self) -> Body:
        disc = Shape("cylinder", (_ZONE, 0.0005), (0.9, 0.75, 0.1), (0, 0, 0.0005), collides=False)
        return Body("zone", (disc,), 0.0, footprint=_ZONE, fixed=True)

    def tracker(self, initial: InitialState) -> "CarryTracker":
        """Return what follows an episode."""
        return CarryTracker(self.target, self.level)


class CarryTracker(GradedTracker):
    """The tray stands in the zone, and never tilted by more than ``limit`` degrees while it was carried."""

    def __init__(self, target: Body, limit: float):
        super().__init__(target, symmetry=0)
        self._limit = limit
        self._largest = 0.0
        self._velocities: list[np.ndarray] = []

    @property
    def has_spilled(self) -> bool:
        """Return whether the tray tilted too far."""
        return self._largest > self._limit

    @property
    def over(self) -> bool:
        """Return whether the tray tilted too far, which nothing mends."""
        return self.has_spilled

    def update(self, now: Situation) -> bool:
        """Take the situation after a control step; return whether the task is solved."""
        # The acceleration is the mean over two control steps, 0.13 s.
        self._velocities = [*self._velocities[-2:], now.target_velocity[:3]]
        if self.height(now) > LIFTED:
            steps = len(self._velocities) - 1
            change = self._velocities[-1] - self._velocities[0]
            acceleration = change * CONTROL_HZ / steps if steps else np.zeros(3)
            self._largest = max(self._largest, felt_tilt_deg(now.target_pose[3:], acceleration))
        return super().update(now)

    def is_there(self, now: Situation) -> bool:
        """Return whether the tray stands in the zone, nothing spilled."""
        return not self.has_spilled and self.off(now) <= TOLERANCE and self.stands(now)

    def blame(self) -> str | None:
        """Return ``spilled`` if the tray tilted too far."""
        return "spilled" if self.has_spilled else None

    def _measure(self, now: Situation) -> Mapping[str, float]:
        return {**super()._measure(now), "largest_tilt_deg": self._largest}


def felt_tilt_deg(quat: np.ndarray, acceleration: np.ndarray) -> float:
    """Return the angle between a body's normal and the vertical that its contents feel, in degrees.

    Args:
        quat: how the body is turned, a unit quaternion (4,).
        acceleration: of the body, (3,) metres per second squared.
    """
    normal, felt = rotation(quat)[:, 2], acceleration + np.array([0.0, 0.0, GRAVITY])
    return math.degrees(math.atan2(float(np.linalg.norm(np.cross(normal, felt))), float(normal @ felt)))
