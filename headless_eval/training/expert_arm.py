"""The DROID robot's arm, as scripted experts move it: inverse kinematics with the gripper pointing down."""

import math
from dataclasses import replace

import mujoco
import numpy as np

from headless_eval.sims.droid.mujoco.simulator import SceneModel, Slot
from headless_eval.sims.droid.tabletop import HOME_JOINTS, InitialState

_START_ELSEWHERE = 0.35  # share of demonstrations


class InverseKinematics:
    """Damped least squares for the arm with the gripper pointing down; its seventh freedom stays near the rest pose."""

    def __init__(self, scene_model: SceneModel):
        self._indices = scene_model
        self._data = mujoco.MjData(scene_model.model)
        self._limits = scene_model.model.jnt_range[
            [scene_model.model.joint(int(scene_model.model.dof_jntid[dof])).id for dof in scene_model.arm_dof]
        ]
        self._stiffness = scene_model.model.actuator_gainprm[:7, 0]
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

    def support(self, joints: np.ndarray, mass: float) -> np.ndarray:
        """Return how far ahead of ``joints`` (7,) the targets have to be for the soft arm to bear a mass (kg)."""
        indices, data = self._indices, self._data
        data.qpos[indices.arm_qpos] = joints
        mujoco.mj_kinematics(indices.model, data)
        mujoco.mj_comPos(indices.model, data)
        mujoco.mj_jacSite(indices.model, data, self._jacobian[:3], None, indices.tcp_site)
        weight = -mass * indices.model.opt.gravity[2]
        ahead: np.ndarray = weight * self._jacobian[2, indices.arm_dof] / self._stiffness
        return ahead


def down_rotation(yaw: float) -> np.ndarray:
    """Return the (3, 3) rotation of a gripper that points down, its pads moving along y turned by ``yaw``."""
    cos, sin = math.cos(yaw), math.sin(yaw)
    return np.array([[cos, sin, 0.0], [sin, -cos, 0.0], [0.0, 0.0, -1.0]])


def gripper_yaw(slot: Slot) -> float:
    """Return the yaw of a slot's gripper, which points down, in radians."""
    axes = slot.data.site_xmat[slot.scene_model.tcp_site].reshape(3, 3)
    return math.atan2(axes[1, 0], axes[0, 0])


def draw_start(
    scene_model: SceneModel, state: InitialState, generator: np.random.Generator, lowest: float
) -> InitialState:
    """Return an initial state, in 35 % of the draws with the gripper elsewhere over the table.

    Args:
        scene_model: of the scene.
        state: where the episode starts else.
        generator: draws whether the gripper is elsewhere, and where and how it is turned.
        lowest: the least height of the pads' midpoint elsewhere, in metres.
    """
    if generator.random() >= _START_ELSEWHERE:
        return state
    place = generator.uniform([0.32, -0.32, lowest], [0.62, 0.36, 0.40])
    yaw = generator.uniform(-0.8, 0.8)
    joints = InverseKinematics(scene_model).solve(state.joints, place, yaw, iterations=60)
    return replace(state, joints=joints)
