"""Policies that know nothing: what a success rate has to beat."""

from typing import Any

import numpy as np

_HORIZON = 8
_WALK = 0.05  # radians a control step, about what a slow robot moves at 15 Hz


def _hold(observation: dict[str, Any]) -> tuple[np.ndarray, bool]:
    """Return the action that keeps the robot where it is, and whether it is in joint positions.

    DROID: the present joint positions and gripper, (8,). Others take relative actions: zeros, (7,).
    """
    if "observation/joint_position" not in observation:
        return np.zeros(7, np.float32), False
    parts = (observation["observation/joint_position"], observation.get("observation/gripper_position", 0.0))
    return np.concatenate([np.ravel(part) for part in parts]).astype(np.float32), True


class ZeroPolicy:
    """Holds still."""

    observation = "droid"
    open_loop_horizon = _HORIZON

    def infer(self, obs: dict[str, Any]) -> dict[str, Any]:
        """Return ``actions`` (8, 8 or 7): the present position, over and over."""
        action, _ = _hold(obs)
        return {"actions": np.tile(action, (_HORIZON, 1))}


class RandomPolicy:
    """Wanders: a random walk of the joints, the gripper opening and closing; else random relative actions."""

    observation = "droid"
    open_loop_horizon = _HORIZON
    noise_shape = (_HORIZON, 8)

    def infer(self, obs: dict[str, Any], noise: np.ndarray | None = None) -> dict[str, Any]:
        """Return ``actions`` (8, 8 or 7), all of whose randomness is ``noise``, standard normal (8, 8)."""
        action, in_joints = _hold(obs)
        if noise is None:
            noise = np.random.default_rng().standard_normal(self.noise_shape, dtype=np.float32)
        noise = np.asarray(noise, np.float32)[:, : len(action)]
        if not in_joints:
            return {"actions": noise.clip(-1, 1)}
        walk = action + _WALK * noise.cumsum(axis=0)
        walk[:, -1] = noise[:, -1] > 0
        return {"actions": walk}


BASELINES: dict[str, type] = {"random": RandomPolicy, "zero": ZeroPolicy}
