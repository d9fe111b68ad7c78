"""What the families of graded tasks have in common."""

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np

from headless_eval.contracts.simulator import Difficulty
from headless_eval.sims.droid.bodies import Body, Rgb, Shape, Vec3, box_volume
from headless_eval.sims.droid.geometry import product, rotation, wrap, yaw_of
from headless_eval.sims.droid.placement import FRONT_LEFT, FRONT_RIGHT, Region, draw_apart, draw_joints
from headless_eval.sims.droid.success import SuccessTracker
from headless_eval.sims.droid.tabletop import InitialState, Scene, Situation

UPRIGHT_DEG = 5.0
"""How far from upright a target may stand at the end, in degrees."""

HEIGHT_TOLERANCE = 0.003
"""How far a target may end above or below where it should stand, in metres."""

CUBE = 0.04
"""Side of the cube that is placed and stacked, in metres."""


@dataclass(frozen=True)
class GradedScene(Scene):
    """A task of a family, whose difficulty is ``level``.

    A family is a subclass with its name, instruction, levels from easy to hard and their unit, its bodies and a
    tracker. Of its levels ``default`` is the one that a small policy is meant to solve often, but not always, and
    ``taught`` are those that demonstrations show: the hardest are left for policies to do better than that.
    """

    level: float

    family: ClassVar[str]
    says: ClassVar[str]
    levels: ClassVar[tuple[float, ...]]
    taught: ClassVar[tuple[float, ...]]
    default: ClassVar[float]
    unit: ClassVar[str] = "mm"
    harder: ClassVar[Literal["less", "more"]] = "less"
    chance: ClassVar[float] = 0.0

    @property
    def key(self) -> str:
        """Return family and level: ``insert_2mm``, ``carry_14deg``."""
        return f"{self.family}_{self.level:g}{self.unit.removesuffix('rees')}"

    @property
    def name(self) -> str:
        """Return family and level: ``insert, 2 mm``."""
        return f"{self.family}, {self.level:g} {self.unit}"

    @property
    def difficulty(self) -> Difficulty:
        """Return the level with its unit."""
        return Difficulty(self.family, self.level, self.unit, self.harder, self.chance)


@dataclass(frozen=True)
class GoalScene(GradedScene):
    """A graded task with two bodies, of which the first belongs where the second is, to within ``level``."""

    target_region: ClassVar[Region] = FRONT_RIGHT
    goal_region: ClassVar[Region] = FRONT_LEFT

    @cached_property
    def target(self) -> Body:
        """Return the body to be moved."""
        return self._target()

    @cached_property
    def goal(self) -> Body:
        """Return the fixed body where the target belongs."""
        return self._goal()

    @abstractmethod
    def _target(self) -> Body: ...

    @abstractmethod
    def _goal(self) -> Body: ...

    @property
    def bodies(self) -> tuple[Body, ...]:
        """Return target and goal."""
        return (self.target, self.goal)

    def draw(self, generator: np.random.Generator, margin: float = 0.0) -> InitialState:
        """Draw an initial state: target at the front right, goal at the front left, any yaw."""
        joints = draw_joints(generator)
        regions = [(self.target, self.target_region), (self.goal, self.goal_region)]
        placed = draw_apart([(body, region.grown(margin)) for body, region in regions], generator)
        return InitialState(joints, np.array([one.pose for one in placed]))


class GradedTracker(SuccessTracker):
    """Success of a graded task, and how far its target is from where it belongs.

    Args:
        target: the body to be moved.
        symmetry: number of yaws per full turn that look the same; 0 if every yaw does.
        point: the point of the target that belongs at the goal's, in the target's frame.
        goal_point: where it belongs, in the goal's frame.
    """

    def __init__(
        self,
        target: Body,
        symmetry: int = 0,
        point: Vec3 = (0.0, 0.0, 0.0),
        goal_point: Vec3 = (0.0, 0.0, 0.0),
    ):
        super().__init__(target, point, goal_point)
        self._symmetry = symmetry

    def _measure(self, now: Situation) -> Mapping[str, float]:
        measures = {"final_error_mm": 1000 * self.off(now)}
        if self._symmetry:
            measures["final_error_deg"] = math.degrees(abs(yaw_error(now, self._symmetry)))
        return measures

    def off(self, now: Situation) -> float:
        """Return the horizontal distance between the target's lower end and the goal, middle to middle, in metres."""
        return float(np.hypot(*(now.target_pose - now.goal_pose)[:2]))

    def height(self, now: Situation) -> float:
        """Return how far the target's lower end is above the table, in metres."""
        return float(now.target_pose[2])

    def is_upright(self, now: Situation) -> bool:
        """Return whether the target stands within ``UPRIGHT_DEG`` of upright."""
        return tilt_deg(now.target_pose[3:]) <= UPRIGHT_DEG

    def stands(self, now: Situation, height: float = 0.0) -> bool:
        """Return whether the target stands upright, its lower end at a height (metres) above the table."""
        return abs(self.height(now) - height) <= HEIGHT_TOLERANCE and self.is_upright(now)


class CubeTracker(GradedTracker):
    """Success of a graded task with the cube, of which every face can be the upper one.

    Args:
        target: the cube.
        height: where it belongs above the goal's lower end, in metres.
    """

    def __init__(self, target: Body, height: float = 0.0):
        middle = CUBE / 2
        super().__init__(target, 4, (0.0, 0.0, middle), (0.0, 0.0, height + middle))

    def is_there(self, now: Situation) -> bool:
        """Return whether the cube stands where it belongs, whichever face is up."""
        return self._is_in_place(with_face_up(now))

    @abstractmethod
    def _is_in_place(self, now: Situation) -> bool:
        """Return whether the cube, its z axis up, stands where it belongs."""

    def update(self, now: Situation) -> bool:
        """Take the situation after a control step; return whether the task is solved."""
        return super().update(with_face_up(now))


_HALF = math.sqrt(0.5)
_FACES = np.array(
    [
        [1, 0, 0, 0],
        [0, 1, 0, 0],
        [_HALF, _HALF, 0, 0],
        [_HALF, -_HALF, 0, 0],
        [_HALF, 0, _HALF, 0],
        [_HALF, 0, -_HALF, 0],
    ]
)
"""Turns that bring each face of a cube up."""


def with_face_up(now: Situation) -> Situation:
    """Return the situation with the cube's axes named anew: its z axis is the one that points up most."""
    pose = now.target_pose
    turns = [product(pose[3:], face) for face in _FACES]
    best = max(turns, key=lambda quat: round(rotation(quat)[2, 2], 6))
    if best is turns[0]:
        return now
    middle = pose[:3] + CUBE / 2 * rotation(pose[3:])[:, 2]
    poses = now.poses.copy()
    poses[0] = [*(middle - CUBE / 2 * rotation(best)[:, 2]), *best]
    return replace(now, poses=poses)


def tilt_deg(quat: np.ndarray) -> float:
    """Return the angle between a body's z axis and the vertical, in degrees."""
    return math.degrees(math.acos(float(np.clip(rotation(quat)[2, 2], -1.0, 1.0))))


def yaw_error(now: Situation, symmetry: int) -> float:
    """Return how far the target has to be turned to lie as the goal does, in radians, modulo its symmetry."""
    error = yaw_of(now.goal_pose[3:]) - yaw_of(now.target_pose[3:])
    return wrap(error, 2 * math.pi / symmetry)


def cube() -> Body:
    """Return the cube: 4 cm, red, with a lighter top."""
    half, sticker = CUBE / 2, CUBE / 2 * 0.8
    shapes = (
        Shape("box", (half, half, half), (0.78, 0.08, 0.08), (0, 0, half)),
        Shape("box", (sticker, sticker, 0.0004), (0.95, 0.35, 0.3), (0, 0, 2 * half), collides=False),
    )
    return Body(
        "cube",
        shapes,
        mass=0.08,
        footprint=half * 1.5,
        volume=box_volume((half, half, half), half),
        grasp_width=CUBE,
        grasp_height=half + 0.01,
        grasp_symmetry=4,
    )


def flat(half_x: float, half_y: float, rgb: Rgb, x: float = 0.0, y: float = 0.0) -> Shape:
    """Return a rectangle drawn on the table, with these half-lengths."""
    return Shape("box", (half_x, half_y, 0.0005), rgb, (x, y, 0.0005), collides=False)
