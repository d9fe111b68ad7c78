"""What a robot is to policies and simulators: cameras, state, actions. One file a robot.

Conventions of names and units follow openpi's data configurations and LeRobot's features: a camera and a state group
have the key that they have in an observation, an action group has a name. A robot with two arms has two arm groups.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from headless_eval.contracts.registry import Registry

IMAGE_SIZE = 224  # pixels; what openpi's policies see
VIEWS = ("base_0_rgb", "left_wrist_0_rgb", "right_wrist_0_rgb")
"""The names that openpi's models give to camera views."""
OPEN_OR_CLOSED = "0 open, 1 closed"
"""The unit of grippers that are commanded to a position between the two."""


@dataclass(frozen=True)
class Camera:
    """A camera of a robot.

    Args:
        key: of its picture in an observation, uint8 (height, width, 3).
        view: what openpi's models call it, one of ``VIEWS``.
    """

    key: str
    view: str


@dataclass(frozen=True)
class StateGroup:
    """Numbers of a robot's state that belong together.

    Args:
        key: of the group in an observation, float32 (dims,).
        names: of its dimensions, in order.
        unit: of all of them, or one for each; such as ``"rad"``, ``"m"`` or ``OPEN_OR_CLOSED``.
    """

    key: str
    names: tuple[str, ...]
    unit: str | tuple[str, ...]

    @property
    def dims(self) -> int:
        """Return how many numbers it has."""
        return len(self.names)


@dataclass(frozen=True)
class ActionGroup:
    """Numbers of a robot's action that belong together.

    Args:
        name: such as ``"arm"`` or ``"left_gripper"``.
        names: of its dimensions, in order.
        unit: of all of them, or one for each.
        relative: whether policies that predict relative actions predict these relative to the state: then they are
            the state's dimensions at the same places.
        hold: the state group whose present value keeps the robot where it is; None: zeros do (commands that are
            relative to the present pose by themselves).
    """

    name: str
    names: tuple[str, ...]
    unit: str | tuple[str, ...]
    relative: bool
    hold: str | None = None

    @property
    def dims(self) -> int:
        """Return how many numbers it has."""
        return len(self.names)


@dataclass(frozen=True)
class Robot:
    """A robot: what is seen of it, what it takes, and how it holds still.

    Args:
        name: by which policies and suites name it.
        summary: one line for people.
        cameras: in the order in which openpi's models take them.
        state: groups, in the order in which they make up the state vector.
        actions: groups, in the order in which they make up an action.
        control_hz: control steps a second that its policies were trained at.
        open_loop_horizon: actions of a chunk that are executed before the policy is asked again, by default.
        prompt: an instruction, for examples.
        example: a configuration of a published checkpoint for it, for messages; None: there is none.
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
        """Return how many numbers the state has."""
        return sum(group.dims for group in self.state)

    @property
    def action_dims(self) -> int:
        """Return how many numbers an action has."""
        return sum(group.dims for group in self.actions)

    @property
    def delta_actions_mask(self) -> tuple[bool, ...]:
        """Return for each action dimension whether relative policies predict it relative to the state."""
        return tuple(group.relative for group in self.actions for _ in group.names)

    @property
    def images(self) -> dict[str, str]:
        """Return the observation's key of each view that a camera shows."""
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
            KeyError: the observation lacks a state group that tells where it is.
        """
        parts = [
            np.zeros(group.dims) if group.hold is None else np.ravel(observation[group.hold])[: group.dims]
            for group in self.actions
        ]
        return np.concatenate(parts).astype(np.float32)

    def is_seen_in(self, observation: Mapping[str, Any]) -> bool:
        """Return whether an observation has all groups of this robot's state."""
        return all(group.key in observation for group in self.state)

    def __str__(self) -> str:
        return self.name


ROBOTS: Registry[Robot] = Registry("robot", __name__)
