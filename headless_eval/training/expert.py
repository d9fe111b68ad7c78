"""Scripted expert for table-top scenes: it sets the target down where it belongs, replanning at every control step."""

import math

import numpy as np

from headless_eval.sims.droid.geometry import rotation, wrap, yaw_of
from headless_eval.sims.droid.mujoco.simulator import Slot
from headless_eval.sims.droid.tabletop import Situation
from headless_eval.training.expert_arm import InverseKinematics, gripper_yaw
from headless_eval.training.expert_goals import CARRY, goal_of

_HOVER = 0.10  # metres above the grasp before going down
_CLOSE_STEPS = 7
_OPEN_STEPS = 5


class Expert:
    """The expert of one slot's episode; ``action()`` returns its action in the slot's present state.

    The setpoint runs ahead of the measured pose by a bounded distance, so an action depends only on the present state
    and the phase: after any disturbance, the next action leads the arm back.

    Raises:
        ValueError: the slot has no episode yet.
        TypeError: the scene is of a class that the expert does not know.
    """

    def __init__(self, slot: Slot, generator: np.random.Generator):
        self._slot = slot
        if slot.initial is None:
            raise ValueError("the slot has no episode yet: reset it first")
        scene = slot.scene_model.scene
        self._target = scene.bodies[0]
        self._goal = goal_of(scene)
        self._ik = InverseKinematics(slot.scene_model)
        self._tracker = scene.tracker(slot.initial)
        self.phase = "approach"
        self._count = 0
        # The pace varies a little between episodes.
        self._reach = generator.uniform(0.040, 0.055)

    def action(self) -> np.ndarray:
        """Return joint targets (7, radians) and gripper (0 open, 1 closed), float64 (8,)."""
        now = self._goal.seen(self._slot.situation())
        joints = self._slot.joint_position
        tip = now.tcp
        yaw = gripper_yaw(self._slot)
        grasp, grasp_yaw = self._grasp(now)
        self._advance(now, tip, yaw, grasp, grasp_yaw)
        goal, goal_yaw, gripper, reach = self._setpoint(now, tip, yaw, grasp, grasp_yaw)
        gap = goal - tip
        distance = float(np.linalg.norm(gap))
        if distance > reach:
            gap *= reach / distance
        turn = float(np.clip(wrap(goal_yaw - yaw), -0.3, 0.3))
        targets = self._ik.solve(joints, tip + gap, yaw + turn)
        if self._goal.mass and self.phase in ("carry", "lower"):
            targets += self._ik.support(joints, self._goal.mass)
        return np.append(targets, gripper)

    def _grasp(self, now: Situation) -> tuple[np.ndarray, float]:
        target = self._target
        turn = rotation(now.target_pose[3:])
        grasp = now.target_pose[:3] + turn @ np.array([0.0, 0.0, target.grasp_height])
        grasp[2] = max(grasp[2], target.grasp_height)
        if target.grasp_symmetry == 0:
            return grasp, 0.0
        # The pads close along y; of the equivalent yaws, take the one nearest to the middle of the wrist's range.
        period = 2 * math.pi / target.grasp_symmetry
        body_yaw = yaw_of(now.target_pose[3:])
        offset = math.pi / 2 if target.grasp_symmetry == 2 else 0.0
        return grasp, self._goal.grasp_yaw(now, wrap(body_yaw + offset, period))

    def _advance(
        self, now: Situation, tip: np.ndarray, yaw: float, grasp: np.ndarray, grasp_yaw: float
    ) -> None:
        flat = float(np.hypot(*(tip - grasp)[:2]))
        turned = abs(wrap(yaw - grasp_yaw))
        inside = self._tracker.is_there(now)
        held = float(np.linalg.norm(tip - grasp)) < 0.035 and now.gripper_position > 0.05
        phase, goal = self.phase, self._goal
        if phase in ("approach", "descend") and inside and now.gripper_position < 0.5:
            phase = "retreat"
        elif phase == "approach" and flat < 0.008 and turned < 0.06 and tip[2] - grasp[2] < _HOVER + 0.03:
            phase = "descend"
        elif phase == "descend":
            if flat > 0.03 or (tip[2] - grasp[2] > 0.03 and flat > 0.02):
                phase = "approach"
            elif abs(tip[2] - grasp[2]) < 0.006 and flat < 0.008:
                phase = "close"
        elif phase == "close" and self._count >= _CLOSE_STEPS:
            phase = "carry" if held else "approach"
        elif phase in ("carry", "lower") and not held:
            phase = "retreat" if inside else "approach"
        elif phase == "carry" and goal.off(now) < goal.align and tip[2] > goal.clear_height(now) - 0.02:
            phase = "lower"
        elif phase == "lower":
            if goal.off(now) > goal.lost:
                phase = "carry"
            elif goal.is_down(now):
                phase = "release"
        elif phase == "release" and self._count >= _OPEN_STEPS:
            phase = "retreat"
        elif phase == "retreat" and not inside and tip[2] > CARRY - 0.03:
            phase = "approach"
        self._count = 0 if phase != self.phase else self._count + 1
        self.phase = phase

    def _setpoint(
        self, now: Situation, tip: np.ndarray, yaw: float, grasp: np.ndarray, grasp_yaw: float
    ) -> tuple[np.ndarray, float, float, float]:
        if self.phase == "approach":
            goal = grasp + np.array([0.0, 0.0, _HOVER])
            flat = float(np.hypot(*(tip - grasp)[:2]))
            if tip[2] < grasp[2] + 0.06 and flat > 0.02:
                goal[:2] = tip[:2] + 0.15 * (goal[:2] - tip[:2])  # up first: do not sweep over the table
            return goal, grasp_yaw, 0.0, self._reach
        if self.phase == "descend":
            return grasp, grasp_yaw, 0.0, 0.6 * self._reach
        if self.phase == "close":
            return grasp if self._count < 2 else np.append(tip[:2], grasp[2]), grasp_yaw, 1.0, 0.02
        if self.phase in ("carry", "lower"):
            return self._way_to_goal(now, tip, yaw, grasp)
        if self.phase == "release":
            return tip.copy(), yaw, 0.0, 0.02
        return np.append(tip[:2], CARRY + 0.05), yaw, 0.0, self._reach

    def _way_to_goal(
        self, now: Situation, tip: np.ndarray, yaw: float, grasp: np.ndarray
    ) -> tuple[np.ndarray, float, float, float]:
        goal = self._goal
        over = goal.spot(now)[:2] - (goal.point(now)[:2] - tip[:2])
        if self.phase == "lower":
            setpoint, pace = np.append(over, goal.release_height(now)), goal.lower_pace
        else:
            pace, lifted = goal.pace, tip[2] - grasp[2] + now.target_pose[2]
            gap = goal.aside(now, over - tip[:2], lifted, pace * self._reach)
            setpoint = np.append(tip[:2] + gap, goal.clear_height(now))
        if goal.gain != 1.0:
            setpoint = tip + goal.gain * (setpoint - tip)
        return setpoint, goal.yaw(now, yaw), 1.0, pace * self._reach
