"""Where bodies and joints start: drawn from a trial's seed, no two footprints overlapping."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headless_eval.sims.droid.bodies import Body
from headless_eval.sims.droid.geometry import yaw_quat
from headless_eval.sims.droid.tabletop import HOME_JOINTS

HOME_NOISE = 0.03  # radians, uniform, each joint
_CLEARANCE = 0.015
_TRIES = 200


@dataclass(frozen=True)
class Region:
    """A rectangle on the table; a body's position is drawn uniformly from it, and its yaw from ``yaw``."""

    x: tuple[float, float]
    y: tuple[float, float]
    yaw: tuple[float, float] = (-math.pi, math.pi)

    def grown(self, margin: float) -> "Region":
        """Return the region with each side moved out by a margin, in metres."""
        (left, right), (near, far) = self.x, self.y
        return Region((left - margin, right + margin), (near - margin, far + margin), self.yaw)


FRONT_RIGHT = Region((0.36, 0.58), (-0.26, -0.02))
FRONT_LEFT = Region((0.38, 0.60), (0.09, 0.29))
ALL_OVER = Region((0.34, 0.66), (-0.34, 0.36))


@dataclass(frozen=True)
class Placed:
    """A body and where it stands: x, y and yaw."""

    body: Body
    x: float
    y: float
    yaw: float

    @property
    def pose(self) -> np.ndarray:
        """Return its pose (7,)."""
        return np.array([self.x, self.y, 0.0, *yaw_quat(self.yaw)])

    def is_clear_of(self, others: Sequence["Placed"]) -> bool:
        """Return whether its footprint overlaps none of the others'."""
        return all(
            np.hypot(self.x - other.x, self.y - other.y)
            > self.body.footprint + other.body.footprint + _CLEARANCE
            for other in others
        )


def draw_joints(generator: np.random.Generator) -> np.ndarray:
    """Draw the arm's joint positions (7,) around the rest pose."""
    return np.array(HOME_JOINTS) + generator.uniform(-HOME_NOISE, HOME_NOISE, 7)


def draw_apart(regions: Sequence[tuple[Body, Region]], generator: np.random.Generator) -> list[Placed]:
    """Draw a place in its region for each body, all anew until no two footprints overlap."""
    while True:
        placed = [_draw(body, region, generator) for body, region in regions]
        if all(one.is_clear_of(placed[:index]) for index, one in enumerate(placed)):
            return placed


def draw_beside(
    bodies: Sequence[Body], region: Region, placed: Sequence[Placed], generator: np.random.Generator
) -> list[Placed]:
    """Draw a free place in the region for each body, one after another.

    One without a free place stands out of the robot's reach, at the far end of the table.
    """
    found: list[Placed] = []
    for index, body in enumerate(bodies):
        for _ in range(_TRIES):
            place = _draw(body, region, generator)
            if place.is_clear_of([*placed, *found]):
                break
        else:
            place = Placed(body, 0.72, -0.3 + 0.2 * index, 0.0)
        found.append(place)
    return found


def _draw(body: Body, region: Region, generator: np.random.Generator) -> Placed:
    return Placed(
        body, generator.uniform(*region.x), generator.uniform(*region.y), generator.uniform(*region.yaw)
    )
