"""The DROID suite in the real simulator, with its real renderer."""

import numpy as np
import pytest

from headless_eval.errors import UserError
from headless_eval.seeding import TrialSeed
from headless_eval.sims import gl
from headless_eval.sims.droid.mujoco_sim import TASKS, DroidMujoco
from headless_eval.training.expert import Expert


@pytest.fixture
def simulator():
    simulator = DroidMujoco(num_slots=4, image_size=96, frame_size=128)
    yield simulator
    simulator.close()


def _hold(simulator, slot):
    return np.append(simulator.observe([slot])[0]["observation/joint_position"], 0.0).astype(np.float32)


def test_observations_have_openpis_droid_keys(simulator):
    simulator.reset(0, TASKS[0], TrialSeed(7, 1, 0))
    (observation,) = simulator.observe([0])
    assert observation["prompt"] == "put the cube in the bowl"
    for key in ("observation/exterior_image_1_left", "observation/wrist_image_left"):
        assert observation[key].shape == (96, 96, 3)
        assert observation[key].dtype == np.uint8
        assert observation[key].std() > 20
    assert observation["observation/joint_position"].shape == (7,)
    assert observation["observation/gripper_position"].shape == (1,)
    assert simulator.frame(0).shape == (128, 256, 3)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.key)
def test_the_expert_succeeds_within_the_step_limit(simulator, task):
    for episode in range(3):
        simulator.reset(0, task, TrialSeed(3, task.id, episode))
        expert = Expert(simulator._slots[0], np.random.default_rng(episode))
        results = (simulator.step({0: expert.action()})[0] for _ in range(200))
        assert any(result.success for result in results)


def test_holding_still_is_no_success(simulator):
    simulator.reset(0, TASKS[0], TrialSeed(7, 1, 0))
    action = _hold(simulator, 0)
    assert not any(simulator.step({0: action})[0].success for _ in range(60))


def test_a_slots_episode_does_not_depend_on_the_others(simulator):
    def trajectory(busy):
        generator = np.random.default_rng(0)
        simulator.reset(2, TASKS[1], TrialSeed(7, 2, 5))
        for slot in busy:
            simulator.reset(slot, TASKS[slot % 3], TrialSeed(1, 1, slot))
        base = _hold(simulator, 2)
        for _ in range(12):
            action = base + generator.normal(0, 0.05, 8).astype(np.float32)
            simulator.step({slot: action for slot in (*busy, 2)})
        observation = simulator.observe([*busy, 2])[-1]
        return observation, simulator.frame(2)

    alone, alone_frame = trajectory(())
    crowded, crowded_frame = trajectory((0, 1, 3))
    for key, value in alone.items():
        np.testing.assert_array_equal(value, crowded[key])
    np.testing.assert_array_equal(alone_frame, crowded_frame)


def test_an_episode_begins_the_same_after_another_in_its_slot(simulator):
    simulator.reset(0, TASKS[2], TrialSeed(7, 3, 1))
    fresh = simulator.observe([0])[0]
    action = _hold(simulator, 0)
    for _ in range(20):
        simulator.step({0: action + 0.1})
    simulator.reset(0, TASKS[2], TrialSeed(7, 3, 1))
    again = simulator.observe([0])[0]
    for key, value in fresh.items():
        np.testing.assert_array_equal(value, again[key])


@pytest.mark.parametrize("action", [np.zeros(7), np.zeros((1, 8)), np.full(8, np.nan)], ids=str)
def test_an_impossible_action_is_a_fault_of_its_slot_alone(simulator, action):
    for slot in (0, 1):
        simulator.reset(slot, TASKS[0], TrialSeed(7, 1, slot))
    results = simulator.step({0: action, 1: _hold(simulator, 1)})
    assert isinstance(results[0].fault, ValueError)
    assert results[1].fault is None


def test_a_missing_gl_library_is_one_line_that_names_the_package(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "egl")
    monkeypatch.setattr(gl.ctypes.util, "find_library", lambda name: None)
    with pytest.raises(UserError, match="libegl1") as caught:
        DroidMujoco()
    assert "\n" not in str(caught.value)


def test_the_manifest_says_what_simulates_and_what_draws(simulator):
    simulator.reset(0, TASKS[0], TrialSeed(7, 1, 0))
    simulator.observe([0])
    facts = simulator.describe()
    assert facts["timestep_s"] * facts["substeps"] == pytest.approx(1 / facts["control_hz"])
    assert facts["gl_renderer"]
