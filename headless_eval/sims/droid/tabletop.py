"""What all scenes of the DROID robot have in common: robot, table, cameras; and what a scene has to say.

The table's top is z = 0. The robot's base stands at the origin and faces +x; +y is to the robot's left. Lengths are
metres, angles radians, quaternions (w, x, y, z); a pose is (x, y, z, qw, qx, qy, qz).
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from headless_eval.contracts.simulator import Difficulty
from headless_eval.sims.droid.bodies import Body, Rgb, Shape, Vec3

CONTROL_HZ = 15.0
MAX_STEPS = 450
# DROID's rest pose: the gripper points straight down in front of the robot.
HOME_JOINTS = (0.0, -math.pi / 5, 0.0, -4 * math.pi / 5, 0.0, 3 * math.pi / 5, 0.0)
FINGER_CLOSED = math.pi / 4
PAD_REACH = 0.024  # metres from the pads' midpoint to their tips, the fingers closed
ARM_LIMITS = (
    (-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973),
    (2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973),
)
"""Lowest and highest position of each joint of the arm, in radians."""


@dataclass(frozen=True)
class Camera:
    """A pinhole camera that looks from ``pos`` at ``target`` (frame of its parent body); ``fovy`` in degrees."""

    name: str
    pos: Vec3
    target: Vec3
    up: Vec3
    fovy: float
    parent: str | None = None


EXTERIOR_CAMERA = Camera("exterior", (1.16, 0.46, 0.72), (0.40, 0.01, 0.13), (0.0, 0.0, 1.0), 47.0)
WRIST_CAMERA = Camera("wrist", (0.08, 0.0, 0.04), (0.022, 0.0, 0.2), (-1.0, 0.0, 0.0), 78.0, "robotiq_base")

TABLE = Shape("box", (0.45, 0.6, 0.02), (0.76, 0.66, 0.53), (0.35, 0.0, -0.02))
FLOOR_Z = -0.75
FLOOR = Shape("box", (3.0, 3.0, 0.05), (0.42, 0.44, 0.47), (0.0, 0.0, FLOOR_Z - 0.05))
LIGHT_DIRECTION: Vec3 = (0.1, 0.35, -1.0)
# The sky, from overhead to the horizon.
SKY: tuple[Rgb, Rgb] = ((0.78, 0.82, 0.86), (0.6, 0.64, 0.7))


@dataclass(frozen=True)
class InitialState:
    """Where an episode starts.

    Args:
        joints: joint positions of the arm, (7,).
        poses: one pose for each body of the scene, in its order, (bodies, 7).
        choice: what the instruction asks for, where the scene draws it for each episode.
    """

    joints: np.ndarray
    poses: np.ndarray
    choice: int | None = None

    @property
    def numbers(self) -> np.ndarray:
        """Return all of it as one vector."""
        choice = [] if self.choice is None else [float(self.choice)]
        return np.concatenate([self.joints, self.poses.ravel(), choice])


ROBOT, ELSE = -2, -1
"""In contacts: the robot, and whatever is neither the robot nor a body of the scene."""


@dataclass(frozen=True)
class Situation:
    """What a tracker sees after a control step, in the world's frame.

    Args:
        poses: of the scene's bodies, in its order, (bodies, 7).
        velocities: of the same, (bodies, 6): linear (m/s), then angular (rad/s), of which only the size is alike in all
            simulators; 0 for fixed bodies.
        tcp: the midpoint between the pads, (3,).
        gripper_position: from 0 (open) to 1 (closed).
        joints: joint positions of the arm, (7,); None if not told.
        contacts: what touches what, in any order and as often as the simulator has it, int (contacts, 2): the number of
            a body in the scene's order, ``ROBOT``, or ``ELSE``; None where a simulator does not tell.
    """

    poses: np.ndarray
    velocities: np.ndarray
    tcp: np.ndarray
    gripper_position: float
    joints: np.ndarray | None = None
    contacts: np.ndarray | None = None

    @property
    def touched(self) -> bool | None:
        """Return whether the robot touches the first body, which is to be moved; None if that is not known."""
        return self.touch(ROBOT, 0)

    def touch(self, first: int, second: int) -> bool | None:
        """Return whether two bodies of ``contacts`` touch; None if that is not known."""
        if self.contacts is None:
            return None
        low, high = min(first, second), max(first, second)
        left, right = self.contacts.T
        return bool((np.minimum(left, right) == low)[np.maximum(left, right) == high].any())

    @property
    def target_pose(self) -> np.ndarray:
        """Return the pose (7,) of the first body, which is to be moved."""
        pose: np.ndarray = self.poses[0]
        return pose

    @property
    def target_velocity(self) -> np.ndarray:
        """Return the velocity (6,) of the first body."""
        velocity: np.ndarray = self.velocities[0]
        return velocity

    @property
    def goal_pose(self) -> np.ndarray:
        """Return the pose (7,) of the second body, where the first belongs."""
        pose: np.ndarray = self.poses[1]
        return pose


class Tracker(Protocol):
    """What follows one episode of a scene."""

    def update(self, now: Situation) -> bool:
        """Take the situation after a control step; return whether the task is solved."""
        ...

    @property
    def over(self) -> bool:
        """Return whether the episode is lost for good, so that it ends."""
        ...

    def is_there(self, now: Situation) -> bool:
        """Return whether things lie as the task wants them, whatever still holds or moves them."""
        ...

    def measures(self) -> Mapping[str, float]:
        """Return how far the latest situation is from the goal, in millimetres and degrees, by the metrics' names."""
        ...

    def distances(self, poses: np.ndarray, tcp: np.ndarray) -> np.ndarray:
        """Return how far what is to be moved is from where it belongs, in metres, (steps,).

        Args:
            poses: of the scene's bodies in many situations, (steps, bodies, 7).
            tcp: the midpoints between the pads, (steps, 3).
        """
        ...

    def blame(self) -> str | None:
        """Return a reason of failure that only this task knows, such as ``spilled``; else None."""
        ...


@dataclass(frozen=True)
class Scene(ABC):
    """One task on the table.

    A class of scenes says which bodies there are, how an initial state is drawn, and what follows an episode;
    simulators know nothing else of it.

    Args:
        id: number of the task in its suite.
        instruction: what the policy is told.
    """

    id: int
    instruction: str

    @property
    @abstractmethod
    def bodies(self) -> tuple[Body, ...]:
        """Return every body, in the order of poses: first the one to be moved, then where it belongs, then others."""

    @abstractmethod
    def draw(self, generator: np.random.Generator, margin: float = 0.0) -> InitialState:
        """Draw an initial state; the same generator gives the same state in every simulator.

        Args:
            generator: of the state.
            margin: how far beyond their regions bodies may start, in metres.
        """

    @abstractmethod
    def tracker(self, initial: InitialState) -> Tracker:
        """Return a new tracker for an episode that starts there."""

    @property
    def key(self) -> str:
        """Return the task's name in file names."""
        return f"scene_{self.id}"

    @property
    def name(self) -> str:
        """Return the task's name for people."""
        return self.instruction

    @property
    def difficulty(self) -> Difficulty | None:
        """Return how hard the task is, where that is a number."""
        return None

    def instruction_of(self, initial: InitialState) -> str:
        """Return what the policy is told in an episode that starts there."""
        return self.instruction
