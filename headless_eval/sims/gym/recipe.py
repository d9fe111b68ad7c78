"""What turns a Gymnasium environment into a suite: where pictures, state, success and metrics come from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from headless_eval.contracts.robots import Robot
from headless_eval.errors import UserError

Source = str | Callable[[Any], Any]
"""Where an entry of an observation comes from: a path in the environment's observation such as ``pixels`` or
``images/top``, ``""`` for the whole observation, or a function of the environment without its wrappers."""

RENDER = "render"
"""The source of a picture that ``env.render()`` draws."""

REWARDS = ("reward", "return")
"""Metrics that no ``info`` has to hold: the latest reward, and the sum of an episode's rewards."""


@dataclass(frozen=True)
class Recipe:
    """How a Gymnasium environment is used; ``GymSuite`` describes the fields of the same names.

    Args:
        named_tasks: whether ``make`` takes the task's key.
        package: what to install where the environment cannot be imported; None if unknown.
    """

    suite: str
    make: str | Callable[..., Any]
    named_tasks: bool
    robot: Robot
    success: str | Callable[[float, bool, Mapping[str, Any]], bool]
    pictures: Mapping[str, Source]
    state: Mapping[str, Source]
    action: Callable[[np.ndarray], Any] | None
    metrics: Mapping[str, str]
    control_hz: float
    libraries: tuple[str, ...]
    deterministic: bool
    package: str | None

    def __post_init__(self) -> None:
        for what, wanted, given in (
            ("pictures", [camera.key for camera in self.robot.cameras], self.pictures),
            ("state", [group.key for group in self.robot.state], self.state),
        ):
            if missing := [key for key in wanted if key not in given]:
                raise UserError(
                    f"the suite {self.suite} does not say where the {what} of the robot {self.robot} come from: "
                    f"give {what}={{{', '.join(f'{key!r}: ...' for key in missing)}}}"
                )


def default_pictures(robot: Robot) -> dict[str, Source]:
    """Return the pictures of a robot with one camera: what ``env.render()`` draws; nothing for other robots."""
    return {camera.key: RENDER for camera in robot.cameras} if len(robot.cameras) == 1 else {}


def default_state(robot: Robot) -> dict[str, Source]:
    """Return the state of a robot with one group: the environment's whole observation; nothing for other robots."""
    return {group.key: "" for group in robot.state} if len(robot.state) == 1 else {}
