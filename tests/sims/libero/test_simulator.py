"""The LIBERO suites over the real package; two tasks, with the assets in ../shared."""

import csv
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from paths import SHARED

from headless_eval.contracts.seeding import TrialSeed
from headless_eval.errors import UserError
from headless_eval.sims.libero.tasks import TASKS

ASSETS = SHARED / "libero_assets"
GOLDEN = SHARED / "golden" / "openpi_pytorch"

pytestmark = [
    pytest.mark.libero,
    pytest.mark.skipif(not ASSETS.is_dir(), reason="no LIBERO assets in ../shared/libero_assets"),
]

BOWL = TASKS["libero_spatial"][7]  # with a stove and a cabinet, which the environment's seed moves
MILK = TASKS["libero_object"][7]


@pytest.fixture(scope="module", autouse=True)
def _libero():
    pytest.importorskip(
        "robosuite", reason="LIBERO is not installed: SUITE=libero_spatial scripts/run_headless.sh"
    )


@pytest.fixture(scope="module")
def spatial():
    from headless_eval.sims.libero.suites import LiberoSettings
    from headless_eval.sims.registry import find_suite

    simulator = find_suite("libero_spatial").make(
        LiberoSettings(libero_assets=ASSETS), num_slots=2, image_size=224
    )
    yield simulator
    simulator.close()


def _actions(number):
    return np.random.default_rng(0).uniform(-1, 1, (number, 7)).astype(np.float32)


def _roll(simulator, slot, seed, actions):
    """Return states after every step and the observation after the last."""
    simulator.reset(slot, BOWL, seed)
    states = []
    for action in actions:
        result = simulator.step({slot: action})[slot]
        assert result.fault is None
        states.append(simulator._slots[slot].data.qpos.copy())
    return np.array(states), simulator.observe([slot])[0]


def test_our_tasks_are_the_packages(spatial):
    from libero.libero.benchmark.libero_suite_task_map import libero_task_map

    for suite, tasks in TASKS.items():
        assert [task.name for task in tasks] == libero_task_map[suite]
        assert all(spatial._package.problem(suite, task.name).is_file() for task in tasks)
        assert all(spatial._package.initial_states(suite, task.name).is_file() for task in tasks)


def test_every_initial_state_of_the_package_can_be_read(spatial):
    from headless_eval.sims.libero.initial_states import read_initial_states

    for suite in ("libero_spatial", "libero_object", "libero_goal", "libero_10"):
        for task in TASKS[suite]:
            assert len(read_initial_states(spatial._package.initial_states(suite, task.name))) == 50


def test_observations_have_openpis_libero_keys(spatial):
    spatial.reset(0, BOWL, TrialSeed(7, BOWL.id, 0))
    (observation,) = spatial.observe([0])
    assert observation["prompt"] == "pick up the black bowl on the stove and place it on the plate"
    for key in ("observation/image", "observation/wrist_image"):
        assert observation[key].shape == (224, 224, 3)
        assert observation[key].dtype == np.uint8
        assert observation[key].std() > 20
    assert observation["observation/state"].shape == (8,)
    assert observation["observation/state"].dtype == np.float32
    assert spatial.frame(0).shape == (256, 512, 3)


def test_an_episode_is_that_of_the_bare_package_to_the_last_bit(spatial):
    """States, observed states and pictures, under openpi's protocol; only the resets are not all of a new model."""
    seed, actions = TrialSeed(7, BOWL.id, 3), _actions(12)
    _roll(spatial, 0, TrialSeed(7, BOWL.id, 8), actions)  # what was before in the slot does not matter
    states, observation = _roll(spatial, 0, seed, actions)
    pictures, state = spatial._draw(0), spatial._slots[0].state

    package = spatial._package
    bare = package.environments.OffScreenRenderEnv(
        bddl_file_name=str(package.problem("libero_spatial", BOWL.name)),
        camera_heights=256,
        camera_widths=256,
    )
    from robosuite.utils.transform_utils import quat2axisangle

    bare.seed(seed.environment_seed())
    bare.reset()
    bare.set_init_state(spatial._slots[0]._states[3])
    for _ in range(10):
        bare.step([0, 0, 0, 0, 0, 0, -1])
    for action, expected in zip(actions, states, strict=True):
        seen, _, _, _ = bare.step(action.tolist())
        np.testing.assert_array_equal(bare.sim.data.qpos, expected)
    angle = quat2axisangle(seen["robot0_eef_quat"])
    expected = np.concatenate([seen["robot0_eef_pos"], angle, seen["robot0_gripper_qpos"]])
    np.testing.assert_array_equal(state, expected)
    for picture, key in zip(pictures, ("agentview_image", "robot0_eye_in_hand_image"), strict=True):
        np.testing.assert_array_equal(picture, seen[key][::-1, ::-1])
    np.testing.assert_allclose(observation["observation/state"], expected, rtol=1e-6)
    # The package's own contexts complain at the interpreter's end unless they go before it.
    bare.env.sim._render_context_offscreen = None
    bare.close()


def test_a_slots_episode_does_not_depend_on_the_others(spatial):
    seed, actions = TrialSeed(7, BOWL.id, 5), _actions(6)
    alone, seen_alone = _roll(spatial, 0, seed, actions)
    spatial.reset(0, BOWL, TrialSeed(7, BOWL.id, 1))
    spatial.reset(1, BOWL, seed)
    for action in actions:
        spatial.step({0: -action, 1: action})
    np.testing.assert_array_equal(spatial._slots[1].data.qpos, alone[-1])
    for key, value in spatial.observe([0, 1])[1].items():
        np.testing.assert_array_equal(value, seen_alone[key])


def test_the_environments_seed_moves_fixtures(spatial):
    def fixtures(seed):
        spatial.reset(0, BOWL, seed)
        environment = spatial._slots[0]
        return environment.model.body_pos.copy(), environment.data.qpos[-20:].copy()

    first, again, other = (fixtures(TrialSeed(seed, BOWL.id, 0)) for seed in (7, 7, 8))
    np.testing.assert_array_equal(first[0], again[0])
    assert np.abs(first[0] - other[0]).max() > 1e-4


def test_nothing_global_is_changed(spatial):
    import torch

    before = np.random.get_state()[1].copy()  # noqa: NPY002
    load, variable = torch.load, os.environ.get("LIBERO_CONFIG_PATH")
    spatial.reset(0, BOWL, TrialSeed(7, BOWL.id, 0))
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    assert torch.load is load
    assert os.environ.get("LIBERO_CONFIG_PATH") == variable


@pytest.mark.parametrize("action", [np.zeros(8), np.full(7, np.nan)], ids=str)
def test_an_impossible_action_is_a_fault_of_its_slot_alone(spatial, action):
    for slot in (0, 1):
        spatial.reset(slot, BOWL, TrialSeed(7, BOWL.id, slot))
    results = spatial.step({0: action, 1: np.zeros(7)})
    assert isinstance(results[0].fault, ValueError)
    assert results[1].fault is None


def test_a_diverged_simulation_is_a_fault(spatial):
    spatial.reset(0, BOWL, TrialSeed(7, BOWL.id, 0))
    spatial._slots[0].data.qvel[-1] = 1e11
    assert isinstance(spatial.step({0: np.zeros(7)})[0].fault, FloatingPointError)
    spatial.reset(0, BOWL, TrialSeed(7, BOWL.id, 0))
    assert spatial.step({0: np.zeros(7)})[0].fault is None


def test_the_success_is_the_packages():
    """The scripted expert puts the milk into the basket; holding still does not."""
    from headless_eval.sims.libero.suites import LiberoSettings
    from headless_eval.sims.registry import find_suite
    from headless_eval.training.libero_expert import Expert

    simulator = find_suite("libero_object").make(LiberoSettings(libero_assets=ASSETS), num_slots=1)
    try:
        for episode in range(2):
            simulator.reset(0, MILK, TrialSeed(7, MILK.id, episode))
            expert = Expert(simulator._slots[0], np.random.default_rng(episode))
            assert any(simulator.step({0: expert.action()})[0].success for _ in range(MILK.max_steps))
        simulator.reset(0, MILK, TrialSeed(7, MILK.id, 0))
        assert not any(simulator.step({0: np.zeros(7)})[0].success for _ in range(30))
        with pytest.raises(UserError, match="wine"):  # which the shared assets do not hold
            simulator.reset(0, TASKS["libero_goal"][9], TrialSeed(7, 9, 0))
    finally:
        simulator.close()


def test_demonstrations_end_in_success_and_label_every_observation(monkeypatch):
    from headless_eval.training.libero_demonstrations import Studio

    monkeypatch.setenv("LIBERO_ASSETS", str(ASSETS))
    studio = Studio()
    rows = studio.demonstrate(np.random.default_rng(1), horizon=10, image_size=96)
    again = studio.demonstrate(np.random.default_rng(1), horizon=10, image_size=96)
    assert len(rows) > 15
    for row, same in zip(rows, again, strict=True):
        assert row["exterior"].shape == row["wrist"].shape == (96, 96, 3)
        assert row["state"].shape == (8,)
        assert row["actions"].shape == (10, 7)
        assert np.abs(row["actions"]).max() <= 1
        assert row["valid"][0]
        for key in row:
            np.testing.assert_array_equal(row[key], same[key])


def _run(folder, *arguments):
    """Run the command in a process of its own, with nothing to read from."""
    done = subprocess.run(
        [sys.executable, "-m", "headless_eval", "run", *arguments, "--results", str(folder), "--quiet"],
        env={**os.environ, "LIBERO_ASSETS": str(ASSETS)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout == f"{folder}\n"
    lines = (folder / "journal.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    return {
        (record["configuration"], record["task_id"], record["episode"]): record["actions_sha256"]
        for record in records
        if "actions_sha256" in record
    }


def test_a_run_is_the_same_with_one_slot_and_with_two_and_is_quiet(tmp_path):
    settings = ["--suite", "libero_object", "--tasks", "1", "7", "--episodes", "1", "--dtypes", "float32"]
    settings += ["--policy", "random", "--videos", "none"]
    one = _run(tmp_path / "one", *settings, "--slots", "1")
    two = _run(tmp_path / "two", *settings, "--slots", "2")
    assert len(one) == 2
    assert one == two
    manifest = json.loads((tmp_path / "one" / "manifest.json").read_text())
    assert len(manifest["simulator"]["assets_sha256"]) == 64
    header = (tmp_path / "one" / "libero_object_results.csv").read_text().splitlines()[0]
    assert header.startswith("task_id,task_name,episode_idx,success,steps,max_steps")


def test_the_bundled_policy_succeeds_alike_with_one_slot_and_with_two(tmp_path):
    settings = ["--suite", "libero_object", "--tasks", "7", "--episodes", "3", "--dtypes", "float32"]
    settings += ["--policy", "pi0-libero-tiny", "--videos", "none"]
    one = _run(tmp_path / "one", *settings, "--slots", "1")
    two = _run(tmp_path / "two", *settings, "--slots", "2")
    assert len(one) == 3
    assert one == two
    for folder in ("one", "two"):
        with (tmp_path / folder / "libero_object_results.csv").open() as file:
            assert [row["success"] for row in csv.DictReader(file)] == ["True"] * 3


@pytest.mark.skipif(not GOLDEN.is_dir(), reason="no golden checkpoints in ../shared/golden")
@pytest.mark.parametrize("name", ["pi0_libero", "pi05_libero"])
def test_a_checkpoint_of_openpi_runs_in_the_loop(tmp_path, name):
    """Its weights are random: it has no success, and makes no error."""
    settings = ["--suite", "libero_spatial", "--tasks", "0", "--episodes", "1", "--dtypes", "float32"]
    settings += [
        "--checkpoint",
        str(GOLDEN / name / "checkpoint"),
        "--config-file",
        str(GOLDEN / name / "meta.json"),
    ]
    settings += ["--tokenizer", str(SHARED / "golden" / "tokenizer.model")]
    assert len(_run(tmp_path / "run", *settings)) == 1
    assert [path.name for path in (tmp_path / "run" / "videos" / "float32").iterdir()] == [
        "task_0_ep000_failure.mp4"
    ]
