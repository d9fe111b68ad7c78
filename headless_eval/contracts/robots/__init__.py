"""Robots: cameras, state groups and action groups, shared by policies and simulators. One file per robot.

Names and units follow openpi's data configurations and LeRobot's features: a camera and a state group have their key in
an observation, an action group has a name. A robot with two arms has two arm groups.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from headless_eval.contracts.registry import Registry

IMAGE_SIZE = 224  # pixels, as for openpi's policies
VIEWS = ("base_0_rgb", "left_wrist_0_rgb", "right_wrist_0_rgb")
"""The names that openpi's models give to camera views."""
OPEN_OR_CLOSED = "0 open, 1 closed"
"""The unit of grippers with position commands, from open to closed."""


@dataclass(frozen=True)
class Camera:
    """A camera of a robot.

    Args:
        key: key of the camera's image in an observation, uint8 (height, width, 3).
        view: openpi's name of the view, one of ``VIEWS``.
    """

    key: str
    view: str


@dataclass(frozen=True)
class StateGroup:
    """A group of numbers of a robot's state.

    Args:
        key: key of the group in an observation, float32 (dims,).
        names: names of the dimensions, in order.
        unit: unit of all dimensions, or one unit per dimension; such as ``"rad"``, ``"m"`` or ``OPEN_OR_CLOSED``.
    """

    key: str
    names: tuple[str, ...]
    unit: str | tuple[str, ...]

    @property
    def dims(self) -> int:
        """Return the number of dimensions."""
        return len(self.names)


@dataclass(frozen=True)
class ActionGroup:
    """A group of numbers of a robot's action.

    Args:
        name: the group's name, such as ``"arm"`` or ``"left_gripper"``.
        names: names of the dimensions, in order.
        unit: unit of all dimensions, or one unit per dimension.
        relative: whether policies with relative actions predict this group relative to the state; its dimensions are
            then the state's dimensions at the same indices.
        hold: the state group whose present value, as a command, holds the robot still; None: zeros hold it still
            (commands that are changes of the present pose).
    """

    name: str
    names: tuple[str, ...]
    unit: str | tuple[str, ...]
    relative: bool
    hold: str | None = None

    @property
    def dims(self) -> int:
        """Return the number of dimensions."""
        return len(self.names)


@dataclass(frozen=True)
class Robot:
    """A robot: cameras, state, actions, and how it holds still.

    Args:
        name: the robot's name for policies and suites.
        summary: description of one line.
        cameras: cameras, in the order of openpi's models.
        state: state groups, in the order of the state vector.
        actions: action groups, in the order of the action vector.
        control_hz: control rate of its policies' training data, in steps per second.
        open_loop_horizon: default number of actions of a chunk that are executed before the policy replans.
        prompt: an instruction, for examples.
        example: the configuration of a published checkpoint for this robot, for messages; None if no such checkpoint
            exists.
    """

    name: str
    summary: str
    cameras: tuple[Camera, ...]
    state: tuple[StateGroup, ...]
    actions: tuple[ActionGroup, ...]
    control_hz: float
    open_loop_horizon: int
    prompt: str
    example: str | None = None

    @property
    def state_dims(self) -> int:
        """Return the number of dimensions of the state."""
        return sum(group.dims for group in self.state)

    @property
    def action_dims(self) -> int:
        """Return the number of dimensions of an action."""
        return sum(group.dims for group in self.actions)

    @property
    def delta_actions_mask(self) -> tuple[bool, ...]:
        """Return for each action dimension whether policies with relative actions predict it relative to the state."""
        return tuple(group.relative for group in self.actions for _ in group.names)

    @property
    def images(self) -> dict[str, str]:
        """Return the observation's key of each camera view."""
        return {camera.view: camera.key for camera in self.cameras}

    def example_observation(self) -> dict[str, Any]:
        """Return an observation with black images and a state of zeros, for warming up."""
        image = np.zeros((IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
        return {
            **{camera.key: image for camera in self.cameras},
            **{group.key: np.zeros(group.dims, np.float32) for group in self.state},
            "prompt": self.prompt,
        }

    def hold_still(self, observation: Mapping[str, Any]) -> np.ndarray:
        """Return the action, float32 (action_dims,), that keeps the robot where an observation shows it.

        Raises:
            KeyError: the observation lacks a state group that is needed.
        """
        parts = [
            np.zeros(group.dims) if group.hold is None else np.ravel(observation[group.hold])[: group.dims]
            for group in self.actions
        ]
        return np.concatenate(parts).astype(np.float32)

    def is_seen_in(self, observation: Mapping[str, Any]) -> bool:
        """Return whether an observation has all state groups of this robot, with their dimensions."""
        return all(np.size(observation.get(group.key, ())) == group.dims for group in self.state)

    def __str__(self) -> str:
        return self.name


ROBOTS: Registry[Robot] = Registry("robot", __name__)
