"""Baseline policies without a model, for any robot: ``zero`` holds still, ``random`` moves at random."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from headless_eval.contracts.robots import OPEN_OR_CLOSED, ROBOTS, ActionGroup, Robot
from headless_eval.errors import UserError

_HORIZON = 8
_DIMS = 8  # of the noise at least: that of robots with fewer actions is the beginning of the same rows
_WALK = 0.05  # of a group's unit a control step; in radians about what a slow robot moves at 15 Hz


class _Baseline:
    """Base class of the baselines.

    Args:
        robot: the name of the robot; None: the robot whose state an observation contains.

    Raises:
        UserError: the robot does not exist.
    """

    observation = "droid"  # robot of the warm-up's observation if no robot is named
    open_loop_horizon = _HORIZON
    stateless = True

    def __init__(self, robot: str | None = None) -> None:
        self.robot = robot
        self._named = None if robot is None else ROBOTS.find(robot)

    def _robot_in(self, observation: Mapping[str, Any]) -> Robot:
        known = [robot for _, robot in ROBOTS.items()] if self._named is None else [self._named]
        found = [robot for robot in known if robot.is_seen_in(observation)]
        if not found:
            raise UserError(
                f"the observation lacks the state of the robot: known are {', '.join(map(str, known))}"
            )
        if len({_moved_by(robot) for robot in found}) > 1:
            raise UserError(
                f"the observation may be of the robots {', '.join(map(str, found))}: name one (robot=...)"
            )
        return found[0]


class ZeroPolicy(_Baseline):
    """Baseline ``zero``: holds still."""

    def infer(self, obs: dict[str, Any]) -> dict[str, Any]:
        """Return ``actions`` (8, action_dims) that keep the robot at its present position.

        Raises:
            UserError: the observation lacks the robot's state, or it fits several robots and no robot is named.
        """
        return {"actions": np.tile(self._robot_in(obs).hold_still(obs), (_HORIZON, 1))}


class RandomPolicy(_Baseline):
    """Baseline ``random``: position commands follow a random walk from the present position, changes are random.

    Grippers with position commands open and close at random.
    """

    @property
    def noise_shape(self) -> tuple[int, int]:
        """Return (8, 8), or more columns if the named robot has more action dimensions."""
        return (_HORIZON, _DIMS if self._named is None else max(_DIMS, self._named.action_dims))

    def infer(self, obs: dict[str, Any], noise: np.ndarray | None = None) -> dict[str, Any]:
        """Return ``actions`` (8, action_dims), whose only randomness is ``noise``, standard normal ``noise_shape``.

        Raises:
            UserError: the same as for ``ZeroPolicy.infer``; or the noise has fewer columns than the robot has action
                dimensions.
        """
        robot = self._robot_in(obs)
        if noise is None:
            noise = np.random.default_rng().standard_normal(self.noise_shape, dtype=np.float32)
        noise = np.asarray(noise, np.float32)
        if noise.shape[1] < robot.action_dims:
            raise UserError(
                f"the robot {robot.name} has {robot.action_dims} actions, the noise {noise.shape[1]}: "
                f"load the policy for it (robot={robot.name!r})"
            )
        here, parts, start = robot.hold_still(obs), [], 0
        for group in robot.actions:
            columns = slice(start, start + group.dims)
            parts.append(_wander(group, here[columns], noise[:, columns]))
            start += group.dims
        return {"actions": np.concatenate(parts, axis=1)}


def _moved_by(robot: Robot) -> tuple[object, ...]:
    """Return the properties of a robot that the baselines' actions depend on."""
    return tuple((group.dims, group.hold, group.unit == OPEN_OR_CLOSED) for group in robot.actions)


def _wander(group: ActionGroup, here: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Return a group's next actions, float32 (steps, dims), from its present position (dims,)."""
    if group.hold is None:
        return noise.clip(-1, 1)
    if group.unit == OPEN_OR_CLOSED:
        return (noise > 0).astype(np.float32)
    return here + _WALK * noise.cumsum(axis=0)


BASELINES: dict[str, type[ZeroPolicy] | type[RandomPolicy]] = {"random": RandomPolicy, "zero": ZeroPolicy}
