"""Descriptions of the three DROID scenes, shared by all simulators.

Lengths are metres, masses kilograms, angles radians, quaternions (w, x, y, z). The table's top is z = 0. The
robot's base stands at the origin and faces +x; +y is to the robot's left.
"""

import math
from dataclasses import dataclass

import numpy as np

Vec3 = tuple[float, float, float]
Quat = tuple[float, float, float, float]
Rgb = tuple[float, float, float]

IDENTITY: Quat = (1.0, 0.0, 0.0, 0.0)

CONTROL_HZ = 15.0
MAX_STEPS = 450
# DROID's rest pose: the gripper points straight down in front of the robot.
HOME_JOINTS = (0.0, -math.pi / 5, 0.0, -4 * math.pi / 5, 0.0, 3 * math.pi / 5, 0.0)
FINGER_CLOSED = math.pi / 4


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
    """A free rigid body; the origin of its frame touches the table when the body stands upright.

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


@dataclass(frozen=True)
class Region:
    """A rectangle on the table; a body's position is drawn uniformly from it, and its yaw from ``yaw``."""

    x: tuple[float, float]
    y: tuple[float, float]
    yaw: tuple[float, float] = (-math.pi, math.pi)


@dataclass(frozen=True)
class Camera:
    """A pinhole camera that looks from ``pos`` at ``target`` (frame of its parent body); ``fovy`` in degrees."""

    name: str
    pos: Vec3
    target: Vec3
    up: Vec3
    fovy: float
    parent: str | None = None


@dataclass(frozen=True)
class Scene:
    """One task: put ``target`` into ``container``, among ``distractors``."""

    id: int
    instruction: str
    target: Body
    container: Body
    distractors: tuple[Body, ...]
    target_region: Region = Region((0.36, 0.58), (-0.26, -0.02))
    container_region: Region = Region((0.38, 0.60), (0.09, 0.29))
    distractor_region: Region = Region((0.34, 0.66), (-0.34, 0.36))

    @property
    def bodies(self) -> tuple[Body, ...]:
        """Return every free body, in the order in which poses are drawn and stored."""
        return (self.target, self.container, *self.distractors)


EXTERIOR_CAMERA = Camera("exterior", (1.16, 0.46, 0.72), (0.40, 0.01, 0.13), (0.0, 0.0, 1.0), 47.0)
WRIST_CAMERA = Camera("wrist", (0.08, 0.0, 0.04), (0.022, 0.0, 0.2), (-1.0, 0.0, 0.0), 78.0, "robotiq_base")

TABLE = Shape("box", (0.45, 0.6, 0.02), (0.76, 0.66, 0.53), (0.35, 0.0, -0.02))
FLOOR_Z = -0.75
FLOOR = Shape("box", (3.0, 3.0, 0.05), (0.42, 0.44, 0.47), (0.0, 0.0, FLOOR_Z - 0.05))
LIGHT_DIRECTION: Vec3 = (0.1, 0.35, -1.0)
# The sky, from overhead to the horizon.
SKY: tuple[Rgb, Rgb] = ((0.78, 0.82, 0.86), (0.6, 0.64, 0.7))


def _ring(
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


def _box_volume(half: Vec3, centre_z: float, counts: tuple[int, int, int] = (5, 5, 5)) -> tuple[Vec3, ...]:
    def along(extent: float, count: int) -> list[float]:
        return [extent * (2 * (i + 0.5) / count - 1) for i in range(count)]

    xs, ys, zs = (along(extent, count) for extent, count in zip(half, counts, strict=True))
    return tuple((x, y, centre_z + z) for x in xs for y in ys for z in zs)


def _cylinder_volume(radius: float, half: float, centre_z: float) -> tuple[Vec3, ...]:
    box = _box_volume((radius, radius, half), centre_z, (6, 6, 6))
    return tuple(point for point in box if math.hypot(point[0], point[1]) <= radius)


def _cube(name: str, half: float) -> Body:
    core = Shape("box", (half, half, half), (0.08, 0.08, 0.09), (0, 0, half))
    sticker, lift = half * 0.86, half + 0.0004
    faces = (
        ((lift, 0, half), (0.0004, sticker, sticker), (0.85, 0.12, 0.1)),
        ((-lift, 0, half), (0.0004, sticker, sticker), (0.95, 0.45, 0.05)),
        ((0, lift, half), (sticker, 0.0004, sticker), (0.1, 0.6, 0.2)),
        ((0, -lift, half), (sticker, 0.0004, sticker), (0.1, 0.25, 0.75)),
        ((0, 0, half + lift), (sticker, sticker, 0.0004), (0.95, 0.85, 0.1)),
        ((0, 0, half - lift), (sticker, sticker, 0.0004), (0.95, 0.95, 0.95)),
    )
    stickers = tuple(Shape("box", size, rgb, pos, collides=False) for pos, size, rgb in faces)
    volume = _box_volume((half, half, half), half)
    return Body(
        name,
        (core, *stickers),
        mass=0.1,
        footprint=half * 1.5,
        volume=volume,
        grasp_width=2 * half,
        grasp_height=half + 0.003,
        grasp_symmetry=4,
    )


def _bowl(name: str) -> Body:
    rgb = (0.16, 0.42, 0.62)
    floor = Shape("cylinder", (0.052, 0.004), (0.2, 0.5, 0.7), (0, 0, 0.004))
    walls = _ring(12, 0.048, 0.084, 0.052, 0.006, rgb, 0.006)
    interior = Frustum(0.050, 0.086, 0.007, 0.058)
    return Body(name, (floor, *walls), 0.4, 0.095, interior=interior)


def _can(name: str) -> Body:
    radius, half = 0.027, 0.038
    shapes = (
        Shape("cylinder", (radius, half), (0.12, 0.22, 0.55), (0, 0, half)),
        Shape("cylinder", (radius + 0.0004, half * 0.4), (0.95, 0.8, 0.15), (0, 0, half), collides=False),
        Shape("cylinder", (radius * 0.92, 0.0006), (0.8, 0.8, 0.82), (0, 0, 2 * half), collides=False),
    )
    volume = _cylinder_volume(radius, half, half)
    return Body(name, shapes, 0.15, radius * 1.2, volume=volume, grasp_width=2 * radius, grasp_height=0.052)


def _mug(name: str) -> Body:
    rgb = (0.75, 0.16, 0.14)
    floor = Shape("cylinder", (0.052, 0.004), (0.62, 0.1, 0.1), (0, 0, 0.004))
    walls = _ring(12, 0.050, 0.053, 0.076, 0.005, rgb, 0.006)
    upper = Shape("capsule", (0.006, 0.016), rgb, (0.074, 0, 0.062), (math.sqrt(0.5), 0, math.sqrt(0.5), 0))
    lower = Shape("capsule", (0.006, 0.016), rgb, (0.074, 0, 0.026), (math.sqrt(0.5), 0, math.sqrt(0.5), 0))
    grip = Shape("capsule", (0.006, 0.018), rgb, (0.09, 0, 0.044))
    interior = Frustum(0.051, 0.054, 0.007, 0.083)
    return Body(name, (floor, *walls, upper, lower, grip), 0.4, 0.075, interior=interior)


def _banana(name: str) -> Body:
    # Capsules along an arc in the table's plane; the fruit lies on its side.
    radius, bend, count = 0.0165, 0.11, 5
    span = 1.15
    shapes: list[Shape] = []
    volume: list[Vec3] = []
    for index in range(count):
        angle = span * ((index + 0.5) / count - 0.5)
        half = bend * span / count / 2
        quat_yaw = (math.cos(angle / 2), 0.0, 0.0, math.sin(angle / 2))
        # A capsule's axis is z: lay it along y, then turn it with the arc.
        lay = (math.sqrt(0.5), -math.sqrt(0.5), 0.0, 0.0)
        quat = (
            quat_yaw[0] * lay[0],
            quat_yaw[0] * lay[1],
            quat_yaw[3] * lay[1],
            quat_yaw[3] * lay[0],
        )
        centre = (bend * (math.cos(angle) - 1) + 0.012, bend * math.sin(angle), radius)
        shapes.append(Shape("capsule", (radius, half), (0.94, 0.8, 0.14), centre, quat))
        for offset in (-0.5, 0.0, 0.5):
            around = angle + 2 * offset * half / bend
            mid = (bend * (math.cos(around) - 1) + 0.012, bend * math.sin(around))
            volume += [
                (mid[0] + dx, mid[1], radius + dz) for dx in (-0.009, 0, 0.009) for dz in (-0.009, 0, 0.009)
            ]
    for sign in (-1, 1):
        angle = sign * (span / 2 + 0.1)
        tip = (bend * (math.cos(angle) - 1) + 0.012, bend * math.sin(angle), radius)
        shapes.append(Shape("sphere", (0.009,), (0.35, 0.25, 0.1), tip, collides=False))
    return Body(
        name,
        tuple(shapes),
        mass=0.12,
        footprint=0.085,
        volume=tuple(volume),
        grasp_width=2 * radius,
        grasp_height=0.027,
        grasp_symmetry=2,
    )


def _bin(name: str) -> Body:
    rgb = (0.45, 0.48, 0.52)
    half_x, half_y, height, wall = 0.08, 0.12, 0.075, 0.004
    shapes = (
        Shape("box", (half_x + 2 * wall, half_y + 2 * wall, 0.003), (0.36, 0.38, 0.42), (0, 0, 0.003)),
        Shape("box", (wall, half_y + 2 * wall, height / 2), rgb, (half_x + wall, 0, height / 2)),
        Shape("box", (wall, half_y + 2 * wall, height / 2), rgb, (-half_x - wall, 0, height / 2)),
        Shape("box", (half_x, wall, height / 2), rgb, (0, half_y + wall, height / 2)),
        Shape("box", (half_x, wall, height / 2), rgb, (0, -half_y - wall, height / 2)),
    )
    interior = Cuboid(half_x, half_y, 0.005, height)
    return Body(name, shapes, 0.5, 0.15, interior=interior)


def _block(name: str, half: Vec3, rgb: Rgb) -> Body:
    return Body(name, (Shape("box", half, rgb, (0, 0, half[2])),), 0.12, math.hypot(half[0], half[1]))


def _bottle(name: str, rgb: Rgb) -> Body:
    shapes = (
        Shape("cylinder", (0.024, 0.045), rgb, (0, 0, 0.045)),
        Shape("cylinder", (0.011, 0.014), (0.95, 0.95, 0.95), (0, 0, 0.104)),
    )
    return Body(name, shapes, 0.2, 0.027)


SCENES: tuple[Scene, ...] = (
    Scene(
        1,
        "put the cube in the bowl",
        target=_cube("cube", 0.026),
        container=_bowl("bowl"),
        distractors=(
            _bottle("bottle", (0.5, 0.25, 0.6)),
            _block("sponge", (0.045, 0.03, 0.014), (0.55, 0.75, 0.2)),
        ),
    ),
    Scene(
        2,
        "put the can in the mug",
        target=_can("can"),
        container=_mug("mug"),
        distractors=(
            _block("butter", (0.045, 0.024, 0.018), (0.93, 0.88, 0.62)),
            _block("brick", (0.03, 0.03, 0.02), (0.2, 0.55, 0.3)),
        ),
    ),
    Scene(
        3,
        "put banana in the bin",
        target=_banana("banana"),
        container=_bin("bin"),
        distractors=(
            _bottle("ketchup", (0.78, 0.1, 0.08)),
            _block("box", (0.025, 0.025, 0.03), (0.25, 0.35, 0.7)),
        ),
        container_region=Region((0.38, 0.58), (0.12, 0.32)),
    ),
)
