"""Scripted experts for SimplerEnv: carrot on plate, stack cube, and pick coke can in its three orientations."""

import math

import numpy as np
import sapien
from scipy.spatial.transform import Rotation

from headless_eval.sims.simpler.environment import Environment
from headless_eval.sims.simpler.objects import Body
from headless_eval.sims.simpler.robots import GOOGLE_ROBOT

TASKS = (
    "widowx_carrot_on_plate",
    "widowx_stack_cube",
    "google_robot_pick_horizontal_coke_can",
    "google_robot_pick_vertical_coke_can",
    "google_robot_pick_standing_coke_can",
)
"""The tasks that there are experts for."""

_DOWN = np.array([0.0, 0.0, -1.0])


class Expert:
    """Follows an environment's present state; ``action()`` is what the expert would do there.

    An action depends on the present state and the phase alone: whatever pushed the arm aside, the next leads back.

    Args:
        environment: an episode of one of ``TASKS``.
        generator: what experts differ by.

    Raises:
        KeyError: there is no expert for the episode's task.
    """

    _GAIN = 0.35  # of what is left to the goal, a control step; the tool lags behind, so more would overshoot
    _STEP = 0.03  # metres a control step at most
    _TURN = 0.2  # radians a control step at most
    _HOVER = 0.075  # metres above the grasp while it is aside
    # Metres aside, and radians turned away, between which it comes down: a funnel, for where to come down is easier to
    # learn if nothing changes all at once.
    _FUNNEL = (0.008, 0.03)
    _TURNED = (0.1, 0.25)
    _CLOSE_STEPS = 3
    _STAY = 8  # control steps of the last phase

    def __new__(cls, environment: Environment, generator: np.random.Generator) -> "Expert":
        """Return the expert for the environment's robot."""
        if environment.task not in TASKS:
            raise KeyError(f"there is no expert for {environment.task}")
        google = environment.kind.robot is GOOGLE_ROBOT
        return super().__new__(_CanExpert if google else _PlaceExpert)

    def __init__(self, environment: Environment, generator: np.random.Generator) -> None:
        self._environment = environment
        names = [placed.model for placed in environment.start.objects]
        self._source = environment.objects[names[environment.start.source]]
        self._pace = generator.uniform(0.9, 1.1)
        self._opening = self._choose_opening()
        self.phase = "approach"
        self._count = 0

    @property
    def done(self) -> bool:
        """Return whether the task is done and the robot stays where it is."""
        return self.phase in ("done", "lift") and self._count >= self._STAY

    def action(self) -> np.ndarray:
        """Return change of position (m), of rotation (axis times angle, rad) and gripper, float64 (7,)."""
        tool = self._tool()
        position = np.array(tool.p, np.float64)
        rotation = np.array(tool.to_transformation_matrix()[:3, :3], np.float64)
        before, self.phase = self.phase, self._advance(position)
        self._count = self._count + 1 if before == self.phase else 0
        move = self._GAIN * self._pace * (self._goal(position) - position)
        move *= min(1.0, self._fastest() * self._pace / max(float(np.linalg.norm(move)), 1e-9))
        turn = self._GAIN * _turn_between(rotation, self._upright())
        turn *= min(1.0, self._TURN / max(float(np.linalg.norm(turn)), 1e-9))
        base = self._base_rotation()
        return np.array([*(base.T @ move), *(base.T @ turn), self._gripper()])

    # --- what the two robots do differently ---

    def _choose_opening(self) -> np.ndarray:
        """Return the horizontal direction that the fingers are to open along, in the world."""
        raise NotImplementedError

    def _upright(self) -> np.ndarray:
        """Return the tool's orientation at the grasp, as a matrix in the world."""
        raise NotImplementedError

    def _advance(self, position: np.ndarray) -> str:
        """Return the phase that follows, given the tool's position."""
        raise NotImplementedError

    def _goal(self, position: np.ndarray) -> np.ndarray:
        """Return where the tool is to be in this phase, in the world."""
        raise NotImplementedError

    def _fastest(self) -> float:
        """Return the most that the tool is moved in a control step of this phase, in metres."""
        return self._STEP

    def _gripper(self) -> float:
        """Return the gripper's command in this phase."""
        raise NotImplementedError

    # --- common ---

    def _tool(self) -> sapien.Pose:
        robot = self._environment.robot
        return robot.links[robot.model.tool].entity_pose

    def _base_rotation(self) -> np.ndarray:
        robot = self._environment.robot
        pose = robot.links[robot.model.base].entity_pose
        return np.array(pose.to_transformation_matrix()[:3, :3], np.float64)

    def _present_opening(self) -> np.ndarray:
        return np.array(self._tool().to_transformation_matrix()[:3, 1], np.float64)

    def _across(self, axis: np.ndarray) -> np.ndarray:
        """Return the horizontal direction across an axis that turns the tool least."""
        across = np.array([-axis[1], axis[0], 0.0]) / math.hypot(axis[0], axis[1])
        return across if across @ self._present_opening() > 0 else -across

    def _aside(self, position: np.ndarray, place: np.ndarray) -> float:
        return math.hypot(*(position - place)[:2])

    def _funnel(self, position: np.ndarray, grasp: np.ndarray) -> np.ndarray:
        """Return where to go before the grasp: over it while aside or turned away, down as the tool comes nearer."""
        high = max(
            _between(self._aside(position, grasp), *self._FUNNEL),
            _between(self._misaligned(), *self._TURNED),
        )
        return grasp + np.array([0.0, 0.0, high * self._HOVER])

    def _misaligned(self) -> float:
        """Return how far the fingers are from opening in the chosen direction, in radians."""
        return math.acos(min(1.0, max(-1.0, float(self._present_opening() @ self._opening))))


class _PlaceExpert(Expert):
    """The WidowX: grasps the source, carries it over the target and puts it down."""

    _LOWEST = 0.0196  # metres of the tool above the table: its fingers reach 16 mm below it
    _TRAVEL = 0.085  # metres of the source above the target on its way there

    def __init__(self, environment: Environment, generator: np.random.Generator) -> None:
        super().__init__(environment, generator)
        names = [placed.model for placed in environment.start.objects]
        self._target: Body = environment.objects[names[environment.start.target]]
        self._table = environment.first[self._target.name][2] - self._target.box[2]
        # The plate is thin and hollow, and its origin lies at its bottom.
        plate = "plate" in self._target.name
        self._table = environment.first[self._target.name][2] if plate else self._table
        self._rest = self._source.box[2] + (0.004 if plate else self._target.box[2])

    def _choose_opening(self) -> np.ndarray:
        matrix = np.array(self._source.pose.to_transformation_matrix()[:3, :3], np.float64)
        if "cube" in self._source.name:
            axes = [self._across(matrix[:, number]) for number in (0, 1)]
            return max(axes, key=lambda axis: float(axis @ self._present_opening()))
        return self._across(matrix[:, 0])

    def _upright(self) -> np.ndarray:
        return np.stack([_DOWN, self._opening, np.cross(_DOWN, self._opening)], axis=1)

    def _grasp(self) -> np.ndarray:
        centre = self._source.centre
        return np.array([*centre[:2], max(centre[2], self._table + self._LOWEST)])

    def _advance(self, position: np.ndarray) -> str:
        grasp, source, target = self._grasp(), self._source.centre, self._target.centre
        _, _, closed = self._environment.pose
        aside, over = self._aside(position, grasp), self._aside(source, target)
        held = float(np.linalg.norm(position - grasp)) < 0.03 and 0.1 < closed < 0.95
        phase = self.phase
        if phase == "approach" and position[2] - grasp[2] < 0.006 and aside < 0.012:
            return "close"
        if phase == "close" and self._count >= self._CLOSE_STEPS:
            return "carry" if held else "approach"
        if phase == "carry" and not held and self._count > 2:
            return "approach"
        if phase == "carry" and over < 0.01 and source[2] < target[2] + self._rest + 0.006:
            return "release"
        if phase == "release" and self._count >= 3:
            return "done" if over < 0.03 else "approach"
        return phase

    def _goal(self, position: np.ndarray) -> np.ndarray:
        grasp, source, target = self._grasp(), self._source.centre, self._target.centre
        if self.phase == "approach":
            return self._funnel(position, grasp)
        if self.phase == "close":
            return np.array([*grasp[:2], min(position[2], grasp[2] + 0.01)])
        above = target[:2] - (source - position)[:2]
        lifted = position[2] - source[2] + target[2] + self._rest
        if self.phase == "carry":
            # Up first: do not sweep over the table.
            high = source[2] - self._table - self._source.box[2]
            share = _between(high, 0.015, 0.05)
            down = 1.0 - _between(self._aside(source, target), 0.008, 0.045)
            place = position[:2] + share * (above - position[:2])
            return np.array([*place, lifted + self._TRAVEL - down * (self._TRAVEL + 0.02)])
        if self.phase == "release":
            return position
        return np.array([*position[:2], self._table + 0.16])

    def _gripper(self) -> float:
        return -1.0 if self.phase in ("close", "carry") else 1.0


class _CanExpert(Expert):
    """Google's robot: grasps the can and lifts it."""

    _GAIN = 0.8
    _STEP = 0.08
    _TURN = 0.6
    _HOVER = 0.09
    _FUNNEL = (0.012, 0.04)
    _TURNED = (0.12, 0.3)
    # Metres of the tool above the can's centre: standing, and lying while the fingers take its ends or its sides.
    _STANDING, _ENDS, _SIDES = -0.01, -0.015, -0.02
    _CLOSE_STEPS = 6
    _LIFT = 0.06
    _GENTLY = 0.03  # metres a control step with the can between the fingers, from which it slips easily

    def __init__(self, environment: Environment, generator: np.random.Generator) -> None:
        super().__init__(environment, generator)
        # Tilted as at first: if the tool pointed straight down, the wrist would be at its limit.
        self._ahead = np.array(self._tool().to_transformation_matrix()[:3, 2], np.float64)
        across = self._opening - (self._opening @ self._ahead) * self._ahead
        self._opening = across / np.linalg.norm(across)

    def _choose_opening(self) -> np.ndarray:
        axis = np.array(self._source.pose.to_transformation_matrix()[:3, 1], np.float64)
        if abs(axis[2]) > 0.7:  # it stands: any direction will do
            flat = self._present_opening() * [1.0, 1.0, 0.0]
            return flat / np.linalg.norm(flat)
        # Across the tool's tilt, by which one finger would reach deeper than the other: then the can slips.
        tilt = np.array(self._tool().to_transformation_matrix()[:2, 2], np.float64)
        ends, sides = self._across(np.array([-axis[1], axis[0], 0.0])), self._across(axis)
        return min(ends, sides, key=lambda opening: abs(float(opening[:2] @ tilt)))

    def _upright(self) -> np.ndarray:
        return np.stack([np.cross(self._opening, self._ahead), self._opening, self._ahead], axis=1)

    def _grasp(self) -> np.ndarray:
        centre = self._source.centre
        axis = np.array(self._source.pose.to_transformation_matrix()[:3, 1], np.float64)
        lying = abs(float(axis[2])) < 0.7
        # The fingers close 2 cm above the tool's origin.
        across = self._ENDS if abs(float(axis @ self._opening)) > 0.7 else self._SIDES
        return centre + np.array([0.0, 0.0, across if lying else self._STANDING])

    def _advance(self, position: np.ndarray) -> str:
        grasp = self._grasp()
        aside = self._aside(position, grasp)
        far = float(np.linalg.norm(position - grasp))
        _, _, closed = self._environment.pose
        phase = self.phase
        if phase == "approach" and position[2] - grasp[2] < 0.01 and aside < 0.02:
            return "close"
        if phase == "close" and self._count >= self._CLOSE_STEPS:
            return "lift" if closed > 0.3 else "close"
        if phase == "lift" and far > 0.06:
            return "approach"
        return phase

    def _goal(self, position: np.ndarray) -> np.ndarray:
        grasp = self._grasp()
        if self.phase == "approach":
            return self._funnel(position, grasp)
        if self.phase == "lift":
            return np.array([*position[:2], self._environment.first[self._source.name][2] + self._LIFT])
        return grasp

    def _fastest(self) -> float:
        return self._GENTLY if self.phase == "lift" else self._STEP

    def _gripper(self) -> float:
        return 1.0 if self.phase in ("close", "lift") else -1.0


def _between(value: float, low: float, high: float) -> float:
    """Return how far a value is on its way from low (0) to high (1)."""
    return min(1.0, max(0.0, (value - low) / (high - low)))


def _turn_between(now: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """Return the rotation, axis times angle in the world, that takes one orientation to another."""
    return Rotation.from_matrix(goal @ now.T).as_rotvec()
