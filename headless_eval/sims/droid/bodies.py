"""Rigid bodies made of primitive shapes, described once for all simulators.

Lengths are metres, masses kilograms, angles radians, quaternions (w, x, y, z).
"""

import math
from dataclasses import dataclass

import numpy as np

Vec3 = tuple[float, float, float]
Quat = tuple[float, float, float, float]
Rgb = tuple[float, float, float]

IDENTITY: Quat = (1.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Shape:
    """One primitive of a body.

    ``size`` follows MuJoCo: box half-lengths; cylinder and capsule (radius, half-length) along z; sphere
    (radius,). Shapes that do not collide are only drawn.
    """

    kind: str
    size: tuple[float, ...]
    rgb: Rgb
    pos: Vec3 = (0.0, 0.0, 0.0)
    quat: Quat = IDENTITY
    collides: bool = True


@dataclass(frozen=True)
class Frustum:
    """An upright interior whose radius grows from ``bottom_radius`` at ``floor`` to ``top_radius`` at ``rim``."""

    bottom_radius: float
    top_radius: float
    floor: float
    rim: float

    def contains(self, points: np.ndarray) -> np.ndarray:
        """Tell which of (N, 3) points in the container's frame lie inside; bool (N,)."""
        height = points[:, 2]
        share = (height - self.floor) / (self.rim - self.floor)
        radius = self.bottom_radius + (self.top_radius - self.bottom_radius) * share
        return (
            (height >= self.floor) & (height <= self.rim) & (np.hypot(points[:, 0], points[:, 1]) <= radius)
        )


@dataclass(frozen=True)
class Cuboid:
    """A box-shaped interior: half-lengths in x and y, from ``floor`` to ``rim``."""

    half_x: float
    half_y: float
    floor: float
    rim: float

    def contains(self, points: np.ndarray) -> np.ndarray:
        """Tell which of (N, 3) points in the container's frame lie inside; bool (N,)."""
        x, y, z = points.T
        return (np.abs(x) <= self.half_x) & (np.abs(y) <= self.half_y) & (z >= self.floor) & (z <= self.rim)


@dataclass(frozen=True)
class Body:
    """A rigid body; the origin of its frame touches the table when the body stands upright.

    It moves freely, or is ``fixed``: it stays where an episode's initial state puts it, whatever touches it. A fixed
    body of shapes that do not collide is a mark on the table.
    ``footprint`` is the radius on the table that placement keeps free of other bodies. ``volume`` holds points
    spread evenly through the body, for the success predicate. ``grasp_width`` is the gap between the pads at which the
    body is released, and ``grasp_height`` the height of the grasp above the body's origin.
    """

    name: str
    shapes: tuple[Shape, ...]
    mass: float
    footprint: float
    friction: float = 0.8
    interior: Frustum | Cuboid | None = None
    volume: tuple[Vec3, ...] = ()
    grasp_width: float = 0.0
    grasp_height: float = 0.0
    # Number of equivalent gripper yaws per full turn; 0: every yaw is equivalent.
    grasp_symmetry: int = 0
    fixed: bool = False


def round_wall(
    count: int, bottom: float, top: float, height: float, thickness: float, rgb: Rgb, base: float
) -> tuple[Shape, ...]:
    """Return ``count`` slanted boxes that form a round wall with these inner radii."""
    slope = math.atan2(top - bottom, height)
    length = math.hypot(top - bottom, height) / 2
    half_width = (top + thickness) * math.tan(math.pi / count)
    walls = []
    for index in range(count):
        angle = 2 * math.pi * index / count
        radius = (bottom + top) / 2 + thickness / 2 * math.cos(slope)
        centre = (radius * math.cos(angle), radius * math.sin(angle), base + height / 2)
        # Lean the box outwards about its own y axis, then rotate it to its position in the ring.
        lean, turn = slope / 2, angle / 2
        quat = (
            math.cos(turn) * math.cos(lean),
            -math.sin(turn) * math.sin(lean),
            math.cos(turn) * math.sin(lean),
            math.sin(turn) * math.cos(lean),
        )
        walls.append(Shape("box", (thickness / 2, half_width, length), rgb, centre, quat))
    return tuple(walls)


def box_volume(half: Vec3, centre_z: float, counts: tuple[int, int, int] = (5, 5, 5)) -> tuple[Vec3, ...]:
    """Return points spread evenly through an upright box with these half-lengths, its middle at ``centre_z``."""

    def along(extent: float, count: int) -> list[float]:
        return [extent * (2 * (i + 0.5) / count - 1) for i in range(count)]

    xs, ys, zs = (along(extent, count) for extent, count in zip(half, counts, strict=True))
    return tuple((x, y, centre_z + z) for x in xs for y in ys for z in zs)


def cylinder_volume(radius: float, half: float, centre_z: float) -> tuple[Vec3, ...]:
    """Return points spread evenly through an upright cylinder of this half-length, its middle at ``centre_z``."""
    box = box_volume((radius, radius, half), centre_z, (6, 6, 6))
    return tuple(point for point in box if math.hypot(point[0], point[1]) <= radius)
