"""The robot's MJCF against the Panda's published kinematics and the 2F-85's stroke."""

import math

import mujoco
import numpy as np
import pytest

from headless_eval.sims.droid.mujoco.model import build_model
from headless_eval.sims.droid.mujoco.simulator import SceneModel, Slot
from headless_eval.sims.droid.scenes import SCENES
from headless_eval.sims.droid.success import pad_opening
from headless_eval.sims.droid.tabletop import FINGER_CLOSED, HOME_JOINTS

# Franka's documentation: Denavit-Hartenberg parameters in Craig's convention, a, d (metres), alpha (radians).
_DH = (
    (0.0, 0.333, 0.0),
    (0.0, 0.0, -math.pi / 2),
    (0.0, 0.316, math.pi / 2),
    (0.0825, 0.0, math.pi / 2),
    (-0.0825, 0.384, -math.pi / 2),
    (0.0, 0.0, math.pi / 2),
    (0.088, 0.0, math.pi / 2),
)
_FLANGE = 0.107


def _flange_by_dh(joints):
    pose = np.eye(4)
    for (a, d, alpha), q in zip(_DH, joints, strict=True):
        ca, sa, cq, sq = math.cos(alpha), math.sin(alpha), math.cos(q), math.sin(q)
        pose = pose @ np.array(
            [
                [cq, -sq, 0, a],
                [sq * ca, cq * ca, -sa, -d * sa],
                [sq * sa, cq * sa, ca, d * ca],
                [0, 0, 0, 1],
            ]
        )
    return pose @ np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, _FLANGE], [0, 0, 0, 1.0]])


@pytest.fixture(scope="module")
def scene_model():
    return SceneModel(SCENES[0])


@pytest.fixture
def slot(scene_model):
    slot = Slot(scene_model)
    slot.reset(SCENES[0].draw(np.random.default_rng(0)))
    return slot


@pytest.mark.parametrize("seed", range(5))
def test_forward_kinematics_are_the_pandas(scene_model, seed):
    model, data = scene_model.model, mujoco.MjData(scene_model.model)
    limits = model.jnt_range[[model.joint(f"panda_joint{i}").id for i in range(1, 8)]]
    joints = np.random.default_rng(seed).uniform(limits[:, 0], limits[:, 1])
    data.qpos[scene_model.arm_qpos] = joints
    mujoco.mj_kinematics(model, data)
    expected = _flange_by_dh(joints)
    base = data.body("robotiq_base")
    np.testing.assert_allclose(base.xpos, expected[:3, 3], atol=1e-9)
    np.testing.assert_allclose(base.xmat.reshape(3, 3), expected[:3, :3], atol=1e-9)


def test_gripper_points_down_at_the_rest_pose(scene_model):
    data = mujoco.MjData(scene_model.model)
    data.qpos[scene_model.arm_qpos] = HOME_JOINTS
    mujoco.mj_kinematics(scene_model.model, data)
    down = data.site_xmat[scene_model.tcp_site].reshape(3, 3)[:, 2]
    np.testing.assert_allclose(down, [0, 0, -1], atol=1e-6)


@pytest.mark.parametrize("command", [0.0, 0.3, 0.6, 1.0])
def test_pads_stand_parallel_and_as_far_apart_as_the_predicate_believes(slot, command):
    action = np.append(slot.joint_position, command)
    for _ in range(20):
        slot.step(action)
    assert slot.gripper_position == pytest.approx(command, abs=0.02)
    data = slot.data
    left, right = data.geom("left_pad"), data.geom("right_pad")
    half_thickness = 0.004
    apart = np.linalg.norm(left.xpos - right.xpos) - 2 * half_thickness
    assert apart == pytest.approx(pad_opening(slot.gripper_position), abs=0.002)
    facing = left.xmat.reshape(3, 3)[:, 1] @ right.xmat.reshape(3, 3)[:, 1]
    assert facing < -0.999


def test_stroke_is_85_mm_and_closes():
    assert pad_opening(0.0) == pytest.approx(0.085, abs=1e-9)
    assert pad_opening(1.0) == pytest.approx(0.0, abs=0.002)


def test_arm_holds_its_target_against_gravity(slot):
    target = slot.joint_position.copy()
    for _ in range(30):
        slot.step(np.append(target, 0.0))
    np.testing.assert_allclose(slot.joint_position, target, atol=1e-3)


def test_arm_follows_a_step_of_its_targets(slot):
    target = slot.joint_position + np.array([0.2, -0.1, 0.1, 0.15, -0.2, 0.1, 0.3])
    for _ in range(15):
        slot.step(np.append(target, 0.0))
    np.testing.assert_allclose(slot.joint_position, target, atol=5e-3)


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: f"scene_{scene.id}")
def test_models_have_the_names_that_users_of_droid_know(scene):
    model = build_model(scene)
    joints = {model.joint(index).name for index in range(model.njnt)}
    assert {f"panda_joint{i}" for i in range(1, 8)} <= joints
    assert "finger_joint" in joints
    assert model.joint("finger_joint").range[1] == pytest.approx(FINGER_CLOSED, abs=1e-3)
    assert {model.camera(index).name for index in range(model.ncam)} == {"exterior", "wrist"}
