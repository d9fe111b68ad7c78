"""The three DROID scenes: an object is put into a container, among distractors."""

import math
from dataclasses import dataclass

import numpy as np

from headless_eval.sims.droid.bodies import (
    Body,
    Cuboid,
    Frustum,
    Rgb,
    Shape,
    Vec3,
    box_volume,
    cylinder_volume,
    round_wall,
)
from headless_eval.sims.droid.placement import (
    ALL_OVER,
    FRONT_LEFT,
    FRONT_RIGHT,
    Region,
    draw_apart,
    draw_beside,
    draw_joints,
)
from headless_eval.sims.droid.success import ContainerTracker
from headless_eval.sims.droid.tabletop import InitialState, Scene, Tracker


@dataclass(frozen=True)
class ContainerScene(Scene):
    """One task: put ``target`` into ``container``, among ``distractors``."""

    target: Body
    container: Body
    distractors: tuple[Body, ...]
    target_region: Region = FRONT_RIGHT
    container_region: Region = FRONT_LEFT
    distractor_region: Region = ALL_OVER

    @property
    def bodies(self) -> tuple[Body, ...]:
        """Return target, container and distractors."""
        return (self.target, self.container, *self.distractors)

    def draw(self, generator: np.random.Generator, margin: float = 0.0) -> InitialState:
        """Draw an initial state: positions uniform over each body's region, any yaw, no two footprints overlapping.

        Distractors without a free position are placed out of the robot's reach, at the far end of the table.
        """
        joints = draw_joints(generator)
        regions = [(self.target, self.target_region), (self.container, self.container_region)]
        placed = draw_apart([(body, region.grown(margin)) for body, region in regions], generator)
        placed += draw_beside(self.distractors, self.distractor_region.grown(margin), placed, generator)
        return InitialState(joints, np.array([one.pose for one in placed]))

    def tracker(self, initial: InitialState) -> Tracker:
        """Return the success predicate of an episode."""
        return ContainerTracker(self.target, self.container)


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
    volume = box_volume((half, half, half), half)
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
    walls = round_wall(12, 0.048, 0.084, 0.052, 0.006, rgb, 0.006)
    interior = Frustum(0.050, 0.086, 0.007, 0.058)
    return Body(name, (floor, *walls), 0.4, 0.095, interior=interior)


def _can(name: str) -> Body:
    radius, half = 0.027, 0.038
    shapes = (
        Shape("cylinder", (radius, half), (0.12, 0.22, 0.55), (0, 0, half)),
        Shape("cylinder", (radius + 0.0004, half * 0.4), (0.95, 0.8, 0.15), (0, 0, half), collides=False),
        Shape("cylinder", (radius * 0.92, 0.0006), (0.8, 0.8, 0.82), (0, 0, 2 * half), collides=False),
    )
    volume = cylinder_volume(radius, half, half)
    return Body(name, shapes, 0.15, radius * 1.2, volume=volume, grasp_width=2 * radius, grasp_height=0.052)


def _mug(name: str) -> Body:
    rgb = (0.75, 0.16, 0.14)
    floor = Shape("cylinder", (0.052, 0.004), (0.62, 0.1, 0.1), (0, 0, 0.004))
    walls = round_wall(12, 0.050, 0.053, 0.076, 0.005, rgb, 0.006)
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


SCENES: tuple[ContainerScene, ...] = (
    ContainerScene(
        1,
        "put the cube in the bowl",
        target=_cube("cube", 0.026),
        container=_bowl("bowl"),
        distractors=(
            _bottle("bottle", (0.5, 0.25, 0.6)),
            _block("sponge", (0.045, 0.03, 0.014), (0.55, 0.75, 0.2)),
        ),
    ),
    ContainerScene(
        2,
        "put the can in the mug",
        target=_can("can"),
        container=_mug("mug"),
        distractors=(
            _block("butter", (0.045, 0.024, 0.018), (0.93, 0.88, 0.62)),
            _block("brick", (0.03, 0.03, 0.02), (0.2, 0.55, 0.3)),
        ),
    ),
    ContainerScene(
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
