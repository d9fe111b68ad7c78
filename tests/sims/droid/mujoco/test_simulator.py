"""The DROID suite in the real simulator, with its real renderer."""

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

from headless_eval.contracts.seeding import TrialSeed
from headless_eval.errors import UserError
from headless_eval.sims import gl
from headless_eval.sims.droid.mujoco.model import robot_mjcf
from headless_eval.sims.droid.mujoco.simulator import TASKS, DroidMujoco
from headless_eval.sims.registry import find_suite
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
        outcome = simulator.outcome(0)
        assert (outcome.reason, outcome.phase) == (None, "place")
        assert outcome.metrics["grasp_attempts"] == 1
        assert outcome.metrics["drops"] == outcome.metrics["collisions"] == 0
        assert outcome.metrics["joint_limit_gap_rad"] > 0.1
        assert set(outcome.metrics) <= set(simulator.metrics)


def test_holding_still_is_no_success(simulator):
    simulator.reset(0, TASKS[0], TrialSeed(7, 1, 0))
    action = _hold(simulator, 0)
    assert not any(simulator.step({0: action})[0].success for _ in range(60))
    outcome = simulator.outcome(0)
    assert (outcome.reason, outcome.phase) == ("never_reached", "approach")


def test_a_hand_that_goes_down_to_the_table_collides_with_it(simulator):
    simulator.reset(0, TASKS[0], TrialSeed(7, 1, 0))
    down = _hold(simulator, 0) + np.float32([0, 1.2, 0, 0, 0, 0, 0, 0])
    assert not any(simulator.step({0: down})[0].success for _ in range(40))
    assert simulator.outcome(0).metrics["collisions"] >= 1


def test_an_outcome_is_that_of_the_slots_present_episode(simulator):
    simulator.reset(0, TASKS[0], TrialSeed(7, 1, 0))
    assert simulator.outcome(0).metrics == {}
    simulator.step({0: _hold(simulator, 0)})
    first = simulator.outcome(0)
    simulator.reset(0, TASKS[0], TrialSeed(7, 1, 1))
    simulator.step({0: _hold(simulator, 0)})
    assert simulator.outcome(0).metrics["final_error_mm"] != first.metrics["final_error_mm"]


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
        find_suite("droid").make()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("backend", ["osmesa", "bogus"])
def test_a_backend_that_is_not_there_is_one_line_and_no_traceback(backend):
    """In a process of its own: mujoco loads OpenGL as it is imported."""
    if backend == "osmesa" and gl.ctypes.util.find_library("OSMesa"):
        pytest.skip("OSMesa is installed")
    done = subprocess.run(
        [sys.executable, "-m", "headless_eval", "run", "--episodes", "1"],
        env={**os.environ, "MUJOCO_GL": backend},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert backend in done.stderr.lower()


def test_an_opengl_that_does_not_load_is_one_line(tmp_path):
    """The library's file is there, but cannot be loaded."""
    (tmp_path / "sitecustomize.py").write_text(
        "import ctypes\n"
        "load = ctypes.CDLL.__init__\n"
        "def refuse(self, name, *args, **kwargs):\n"
        "    if name and ('EGL' in str(name) or 'libGL' in str(name) or 'OpenGL' in str(name)):\n"
        "        raise OSError(f'{name}: damaged')\n"
        "    load(self, name, *args, **kwargs)\n"
        "ctypes.CDLL.__init__ = refuse\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "headless_eval", "run", "--episodes", "1"],
        env={**os.environ, "MUJOCO_GL": "egl", "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert "libegl1" in done.stderr


@pytest.mark.parametrize("spoil", ["qpos", "qvel"])
def test_a_diverged_simulation_is_a_fault(simulator, spoil):
    simulator.reset(0, TASKS[0], TrialSeed(7, 1, 0))
    action = _hold(simulator, 0)
    getattr(simulator._slots[0].data, spoil)[9] = 1e11
    fault = simulator.step({0: action})[0].fault
    assert isinstance(fault, FloatingPointError)
    simulator.reset(0, TASKS[0], TrialSeed(7, 1, 0))
    assert simulator.step({0: action})[0].fault is None


def test_the_manifest_says_what_simulates_and_what_draws(simulator):
    simulator.reset(0, TASKS[0], TrialSeed(7, 1, 0))
    simulator.observe([0])
    facts = simulator.describe()
    assert facts["timestep_s"] * facts["substeps"] == pytest.approx(1 / facts["control_hz"])
    assert facts["gl_renderer"]
    assert facts["assets_sha256"] == hashlib.sha256(robot_mjcf().encode()).hexdigest()
