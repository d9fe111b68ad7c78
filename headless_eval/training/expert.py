"""Scripted expert for the DROID scenes: it puts the target into the container, replanning at every control step."""

import math

import mujoco
import numpy as np

from headless_eval.sims.droid.geometry import rotation
from headless_eval.sims.droid.mujoco.simulator import SceneModel, Slot
from headless_eval.sims.droid.scenes import HOME_JOINTS
from headless_eval.sims.droid.success import Situation, SuccessTracker

_HOVER = 0.10  # metres above the grasp before going down
_CARRY = 0.20  # metres, height of the pads on the way to the container
_PAD_REACH = 0.024  # metres from the pads' midpoint to their tips, the fingers closed
_CLOSE_STEPS = 7
_OPEN_STEPS = 5


class InverseKinematics:
    """Damped least squares for the arm with the gripper pointing down; its seventh freedom stays near the rest pose."""

    def __init__(self, scene_model: SceneModel):
        self._indices = scene_model
        self._data = mujoco.MjData(scene_model.model)
        self._limits = scene_model.model.jnt_range[
            [scene_model.model.joint(int(scene_model.model.dof_jntid[dof])).id for dof in scene_model.arm_dof]
        ]
        self._jacobian = np.zeros((6, scene_model.model.nv))

    def solve(self, joints: np.ndarray, position: np.ndarray, yaw: float, iterations: int = 6) -> np.ndarray:
        """Return joint positions (7,) near ``joints`` that bring the pads' midpoint to ``position`` with ``yaw``."""
        indices, data = self._indices, self._data
        goal = down_rotation(yaw)
        solution = joints.copy()
        for _ in range(iterations):
            data.qpos[indices.arm_qpos] = solution
            mujoco.mj_kinematics(indices.model, data)
            mujoco.mj_comPos(indices.model, data)
            error = np.empty(6)
            error[:3] = position - data.site_xpos[indices.tcp_site]
            now = data.site_xmat[indices.tcp_site].reshape(3, 3)
            error[3:] = 0.5 * np.cross(now.T, goal.T).sum(axis=0)
            if np.linalg.norm(error) < 1e-4:
                break
            mujoco.mj_jacSite(indices.model, data, self._jacobian[:3], self._jacobian[3:], indices.tcp_site)
            jacobian = self._jacobian[:, indices.arm_dof]
            inverse = jacobian.T @ np.linalg.inv(jacobian @ jacobian.T + 1e-4 * np.eye(6))
            rest = np.array(HOME_JOINTS) - solution
            rest[6] = 0.0
            step = inverse @ error + (np.eye(7) - inverse @ jacobian) @ (0.1 * rest)
            solution = np.clip(solution + step, self._limits[:, 0] + 0.02, self._limits[:, 1] - 0.02)
        return solution


def down_rotation(yaw: float) -> np.ndarray:
    """Return the (3, 3) rotation of a gripper that points down, its pads moving along y turned by ``yaw``."""
    cos, sin = math.cos(yaw), math.sin(yaw)
    return np.array([[cos, sin, 0.0], [sin, -cos, 0.0], [0.0, 0.0, -1.0]])


def wrap(angle: float, period: float = 2 * math.pi) -> float:
    """Return the angle modulo ``period``, in the interval around zero."""
    return (angle + period / 2) % period - period / 2


class Expert:
    """The expert of one slot's episode; ``action()`` returns its action in the slot's present state.

    The setpoint runs ahead of the measured pose by a bounded distance, so an action depends only on the present state
    and the phase: after any disturbance, the next action leads the arm back.
    """

    def __init__(self, slot: Slot, generator: np.random.Generator):
        self._slot = slot
        self._scene = slot.scene_model.scene
        self._ik = InverseKinematics(slot.scene_model)
        self._tracker = SuccessTracker(self._scene)
        self._points = np.array(self._scene.target.volume)
        self.phase = "approach"
        self._count = 0
        # The pace varies a little between episodes.
        self._reach = generator.uniform(0.040, 0.055)

    def action(self) -> np.ndarray:
        """Return joint targets (7, radians) and gripper (0 open, 1 closed), float64 (8,)."""
        now = self._slot.situation()
        joints = self._slot.joint_position
        tip = now.tcp
        yaw = self._gripper_yaw()
        points = self._points @ rotation(now.target_pose[3:]).T + now.target_pose[:3]
        grasp, grasp_yaw = self._grasp(now, yaw)
        self._advance(now, points, tip, yaw, grasp, grasp_yaw)
        goal, goal_yaw, gripper, reach = self._setpoint(now, tip, yaw, grasp, grasp_yaw)
        gap = goal - tip
        distance = float(np.linalg.norm(gap))
        if distance > reach:
            gap *= reach / distance
        turn = float(np.clip(wrap(goal_yaw - yaw), -0.3, 0.3))
        return np.append(self._ik.solve(joints, tip + gap, yaw + turn), gripper)

    def _gripper_yaw(self) -> float:
        indices, data = self._slot.scene_model, self._slot.data
        axes = data.site_xmat[indices.tcp_site].reshape(3, 3)
        return math.atan2(axes[1, 0], axes[0, 0])

    def _grasp(self, now: Situation, yaw: float) -> tuple[np.ndarray, float]:
        target = self._scene.target
        turn = rotation(now.target_pose[3:])
        grasp = now.target_pose[:3] + turn @ np.array([0.0, 0.0, target.grasp_height])
        grasp[2] = max(grasp[2], target.grasp_height)
        if target.grasp_symmetry == 0:
            return grasp, 0.0
        # The pads close along y; of the equivalent yaws, take the one nearest to the middle of the wrist's range.
        period = 2 * math.pi / target.grasp_symmetry
        body_yaw = math.atan2(turn[1, 0], turn[0, 0])
        offset = math.pi / 2 if target.grasp_symmetry == 2 else 0.0
        return grasp, wrap(body_yaw + offset, period)

    def _advance(
        self,
        now: Situation,
        points: np.ndarray,
        tip: np.ndarray,
        yaw: float,
        grasp: np.ndarray,
        grasp_yaw: float,
    ) -> None:
        flat = float(np.hypot(*(tip - grasp)[:2]))
        turned = abs(wrap(yaw - grasp_yaw))
        inside = self._tracker.is_inside(points, now.container_pose)
        held = float(np.linalg.norm(tip - grasp)) < 0.035 and now.gripper_position > 0.05
        phase = self.phase
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
        elif (
            phase == "carry"
            and self._over_container(now, points) < 0.012
            and tip[2] > self._clear_height(now) - 0.02
        ):
            phase = "lower"
        elif phase == "lower":
            if self._over_container(now, points) > 0.03:
                phase = "carry"
            elif tip[2] - self._release_height(now) < 0.008:
                phase = "release"
        elif phase == "release" and self._count >= _OPEN_STEPS:
            phase = "retreat"
        elif phase == "retreat" and not inside and tip[2] > _CARRY - 0.03:
            phase = "approach"
        self._count = 0 if phase != self.phase else self._count + 1
        self.phase = phase

    def _over_container(self, now: Situation, points: np.ndarray) -> float:
        return float(np.hypot(*(points.mean(axis=0) - now.container_pose[:3])[:2]))

    def _below_pads(self) -> float:
        """Return how far a held target reaches below the pads' midpoint, in metres."""
        return self._scene.target.grasp_height

    def _rim(self, now: Situation) -> float:
        interior = self._scene.container.interior
        assert interior is not None
        return float(now.container_pose[2]) + interior.rim

    def _clear_height(self, now: Situation) -> float:
        return max(_CARRY, self._rim(now) + self._below_pads() + 0.025)

    def _release_height(self, now: Situation) -> float:
        # The lowest height at which the pads' tips stay clear of the rim while they open.
        return self._rim(now) + _PAD_REACH + 0.012

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
        if self.phase == "carry":
            points = self._points @ rotation(now.target_pose[3:]).T + now.target_pose[:3]
            offset = points.mean(axis=0)[:2] - tip[:2]
            goal = np.append(now.container_pose[:2] - offset, self._clear_height(now))
            if tip[2] < self._clear_height(now) - 0.05:
                rise = max(0.0, tip[2] - grasp[2] + now.target_pose[2] - 0.03)
                goal[:2] = tip[:2] + min(1.0, 4 * rise) * (goal[:2] - tip[:2])
            return goal, self._carry_yaw(now, yaw), 1.0, self._reach
        if self.phase == "lower":
            points = self._points @ rotation(now.target_pose[3:]).T + now.target_pose[:3]
            offset = points.mean(axis=0)[:2] - tip[:2]
            goal = np.append(now.container_pose[:2] - offset, self._release_height(now))
            return goal, self._carry_yaw(now, yaw), 1.0, 0.7 * self._reach
        if self.phase == "release":
            return tip.copy(), yaw, 0.0, 0.02
        return np.append(tip[:2], _CARRY + 0.05), yaw, 0.0, self._reach

    def _carry_yaw(self, now: Situation, yaw: float) -> float:
        """Return the gripper's yaw for setting down: a long target is laid along a long container."""
        if self._scene.target.grasp_symmetry != 2:
            return 0.0
        turn = rotation(now.container_pose[3:])
        container_yaw = math.atan2(turn[1, 0], turn[0, 0])
        return wrap(container_yaw + math.pi / 2, math.pi)
