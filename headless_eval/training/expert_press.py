"""Scripted expert for the tasks ``press``: over the named button and down on it."""

import math

import numpy as np

from headless_eval.sims.droid.geometry import wrap
from headless_eval.sims.droid.mujoco.simulator import Slot
from headless_eval.sims.droid.precise.press import TOP
from headless_eval.sims.droid.tabletop import PAD_REACH
from headless_eval.training.expert_arm import InverseKinematics, gripper_yaw

_HOVER = 0.05  # metres, of the tips above the button
_BELOW = 0.010  # metres below its top that the arm is sent to, so that it presses
_OFF = 0.15  # of the button's radius: how far the tips may be from its middle on the way down


class PressExpert:
    """The expert of one slot's episode; ``action()`` returns its action in the slot's present state.

    As ``Expert``'s, an action depends only on the present state and the phase. The press is held until the episode
    ends: a policy that does not remember could not tell when to go up.

    Raises:
        ValueError: the slot has no episode yet.
    """

    def __init__(self, slot: Slot, generator: np.random.Generator):
        if slot.initial is None or slot.initial.choice is None:
            raise ValueError("the slot has no episode yet: reset it first")
        self._slot = slot
        self._ik = InverseKinematics(slot.scene_model)
        self._spot = slot.initial.poses[slot.initial.choice, :3] + np.array([0.0, 0.0, TOP + PAD_REACH])
        diameter = slot.scene_model.scene.difficulty
        assert diameter is not None
        self._align = max(0.0015, _OFF * diameter.value / 2000)
        self.phase = "approach"
        # The pace varies a little between episodes.
        self._reach = generator.uniform(0.040, 0.055)

    def action(self) -> np.ndarray:
        """Return joint targets (7, radians) and gripper (0 open, 1 closed), float64 (8,)."""
        now = self._slot.situation()
        gap = self._spot - now.tcp
        flat = float(np.hypot(*gap[:2]))
        if self.phase == "approach" and flat < self._align and now.gripper_position > 0.9:
            self.phase = "press"
        elif self.phase == "press" and flat > 3 * self._align:
            self.phase = "approach"
        if self.phase == "press":
            goal, reach = self._spot - np.array([0.0, 0.0, _BELOW]), 0.5 * self._reach
        else:
            goal, reach = self._spot + np.array([0.0, 0.0, _HOVER]), self._reach
            if gap[2] > -_HOVER / 2 and flat > 0.02:  # up first: do not push another button
                goal[:2] = now.tcp[:2]
        step = goal - now.tcp
        distance = float(np.linalg.norm(step))
        if distance > reach:
            step *= reach / distance
        yaw = gripper_yaw(self._slot)
        turn = float(np.clip(wrap(-yaw, math.pi), -0.3, 0.3))
        joints = self._ik.solve(self._slot.joint_position, now.tcp + step, yaw + turn)
        return np.append(joints, 1.0)
