"""The DROID suite in Isaac Lab on Newton and PhysX, the real thing: scripts/test_isaaclab.sh runs these."""

import numpy as np
import pytest

pytest.importorskip("isaaclab", reason="Isaac Lab is not installed here: scripts/test_isaaclab.sh sets it up")

from headless_eval.cli.main import main
from headless_eval.contracts.seeding import TrialSeed
from headless_eval.results import RunDirectory
from headless_eval.sims.droid.mujoco.simulator import TASKS, DroidMujoco
from headless_eval.sims.droid.suites import DroidSettings
from headless_eval.sims.droid.tabletop import HOME_JOINTS
from headless_eval.sims.perturbation import perturbed
from headless_eval.sims.registry import find_suite
from headless_eval.training.expert import Expert

pytestmark = pytest.mark.isaaclab


@pytest.fixture(scope="module", params=["newton", "physx"])
def simulator(request):
    if request.param == "physx":
        pytest.importorskip(
            "ovphysx", reason="PhysX is not installed here: scripts/test_isaaclab.sh sets it up"
        )
    settings = DroidSettings(sim="isaaclab", physics=request.param)
    simulator = find_suite("droid").make(settings, num_slots=4, image_size=96, frame_size=128)
    yield simulator
    simulator.close()


@pytest.fixture(scope="module")
def mujoco():
    simulator = DroidMujoco(num_slots=3, image_size=96)
    yield simulator
    simulator.close()


def _actions(seed, steps=24):
    """Return actions that push things about."""
    generator = np.random.default_rng(seed)
    joints = np.array(HOME_JOINTS) + np.cumsum(generator.normal(0, 0.03, (steps, 7)), axis=0)
    joints[:, 1] += np.linspace(0, 0.6, steps)
    return np.column_stack([joints, np.arange(steps) // 8 % 2]).astype(np.float32)


def _trajectory(simulator, slot, others=()):
    simulator.reset(slot, TASKS[1], TrialSeed(7, 2, 5))
    for other in others:
        simulator.reset(other, TASKS[other % 3], TrialSeed(1, 1, other))
    plans = {one: _actions(one) for one in others} | {slot: _actions(99)}
    states, pictures = [], []
    for step in range(24):
        simulator.step({one: plan[step] for one, plan in plans.items()})
        states.append(_state(simulator, slot))
        if step % 8 == 7:
            (observation,) = simulator.observe([slot])
            pictures.append(observation["observation/wrist_image_left"])
    return np.array(states), np.array(pictures)


def test_observations_are_those_of_mujoco(simulator, mujoco):
    for slot, task in enumerate(TASKS):
        simulator.reset(slot, task, TrialSeed(7, task.id, 0))
        mujoco.reset(slot, task, TrialSeed(7, task.id, 0))
    for here, there in zip(simulator.observe(range(3)), mujoco.observe(range(3)), strict=True):
        assert here.keys() == there.keys()
        assert here["prompt"] == there["prompt"]
        for key in ("observation/joint_position", "observation/gripper_position"):
            assert here[key].dtype == there[key].dtype
            np.testing.assert_allclose(here[key], there[key], atol=1e-6)
        for key in ("observation/exterior_image_1_left", "observation/wrist_image_left"):
            assert here[key].shape == there[key].shape
            assert here[key].dtype == np.uint8
            apart = np.abs(here[key].astype(float) - there[key])
            assert np.median(apart) < 24  # the same scene in another light


def test_the_same_actions_do_the_same_as_in_mujoco(simulator, mujoco):
    """The scripted expert's actions in MuJoCo, executed in both: they solve the task in both."""
    for slot, task in enumerate(TASKS):
        simulator.reset(slot, task, TrialSeed(7, task.id, 0))
        mujoco.reset(slot, task, TrialSeed(7, task.id, 0))
    experts = [Expert(mujoco._slots[slot], np.random.default_rng(0)) for slot in range(3)]
    solved: dict[str, set[int]] = {"here": set(), "there": set()}
    for _ in range(110):
        actions = {slot: experts[slot].action().astype(np.float32) for slot in range(3)}
        for name, results in (("there", mujoco.step(actions)), ("here", simulator.step(actions))):
            solved[name] |= {slot for slot, result in results.items() if result.success}
        joints = simulator._read().joints[:3, simulator._arm]
        apart = [np.abs(joints[slot] - mujoco._slots[slot].joint_position).max() for slot in range(3)]
        assert max(apart) < 0.02
    assert solved == {"here": {0, 1, 2}, "there": {0, 1, 2}}


def test_an_episode_depends_on_nothing_but_itself(simulator):
    states, pictures = _trajectory(simulator, 0)
    for slot, others in ((0, ()), (2, ()), (1, (0, 2, 3))):
        again, pictures_again = _trajectory(simulator, slot, others)
        np.testing.assert_array_equal(states, again)
        np.testing.assert_array_equal(pictures, pictures_again)


def _state(simulator, slot):
    now = simulator._read()
    return np.concatenate([now.joints[slot], now.poses[slot].ravel(), now.velocities[slot].ravel()])


def test_an_outcome_tells_what_the_engine_knows(simulator):
    simulator.reset(0, TASKS[0], TrialSeed(7, 1, 0))
    for _ in range(4):
        simulator.step({0: np.float32([*HOME_JOINTS, 0.0])})
    outcome = simulator.outcome(0)
    assert (outcome.reason, outcome.phase) == ("never_reached", "approach")
    known = {"final_error_mm", "smallest_distance_mm", "drops", "grasp_attempts", "joint_limit_gap_rad"}
    if simulator.describe()["physics"] == "newton":  # PhysX is not asked for contacts
        known.add("collisions")
    assert set(outcome.metrics) == known


def test_slots_that_are_not_named_stay_as_they_are(simulator):
    simulator.reset(0, TASKS[1], TrialSeed(7, 2, 5))
    simulator.reset(1, TASKS[0], TrialSeed(7, 1, 0))
    for index, action in enumerate(_actions(99)):
        simulator.step({0: action})
        before = _state(simulator, 0)
        for other in _actions(index, 2):
            simulator.step({1: other})
        after = _state(simulator, 0)
        # Isaac Lab converts velocities between a body's frame and its centre of mass.
        np.testing.assert_allclose(before, after, atol=1e-6)


def test_an_episode_that_waited_goes_on_as_if_it_had_not(simulator):
    if simulator.describe()["physics"] == "physx":
        pytest.skip(
            "PhysX forgets the contacts of a slot that waits; runs let those slots wait that are done"
        )
    straight, _ = _trajectory(simulator, 0)
    simulator.reset(0, TASKS[1], TrialSeed(7, 2, 5))
    simulator.reset(1, TASKS[0], TrialSeed(7, 1, 0))
    for index, action in enumerate(_actions(99)):
        simulator.step({0: action})
        for other in _actions(index, 2):
            simulator.step({1: other})
    np.testing.assert_array_equal(straight[-1], _state(simulator, 0))


def test_in_a_slot_that_waited_the_next_episode_is_as_in_a_fresh_one(simulator):
    straight, pictures = _trajectory(simulator, 0)
    for action in _actions(1, 8):
        simulator.step({2: action})  # slot 0 waits, in the middle of a movement
    again, pictures_again = _trajectory(simulator, 0)
    np.testing.assert_array_equal(straight, again)
    np.testing.assert_array_equal(pictures, pictures_again)


def test_a_heap_of_bodies_falls_alike_in_every_slot(simulator):
    """Of two bodies that touch one is the first to the engine: everywhere the same one.

    Without the containers, whose shapes PhysX takes in an order of its own.
    """
    from headless_eval.sims.droid.isaaclab.scene import hideaway, population

    if simulator.describe()["physics"] == "newton":
        pytest.skip("so many contacts are more than Newton's buffers are for")
    for slot in range(simulator.num_slots):
        simulator.reset(slot, TASKS[0], TrialSeed(7, 1, 0))
        joints, poses = simulator._start(simulator._scene_of(TASKS[0]), simulator._initial[slot])
        for index, name in enumerate(population(simulator.scenes)):
            at = 0.5 + 0.01 * (index % 3), 0.01 * (index % 2), 0.1 + 0.12 * index
            poses[index, :3] = hideaway(index) if name in ("bowl", "mug", "bin") else at
        simulator._write(slot, joints, poses)
    hold = np.append(HOME_JOINTS, 0.0).astype(np.float32)
    for _ in range(30):
        simulator.step({slot: hold for slot in range(simulator.num_slots)})
    for slot in range(1, simulator.num_slots):
        np.testing.assert_array_equal(_state(simulator, 0), _state(simulator, slot))


@pytest.mark.parametrize("action", [np.zeros(7), np.zeros((1, 8)), np.full(8, np.nan)], ids=str)
def test_an_impossible_action_is_a_fault_of_its_slot_alone(simulator, action):
    for slot in (0, 1):
        simulator.reset(slot, TASKS[0], TrialSeed(7, 1, slot))
    results = simulator.step({0: action, 1: np.append(HOME_JOINTS, 0.0)})
    assert isinstance(results[0].fault, ValueError)
    assert results[1].fault is None


def test_frames_show_both_cameras(simulator):
    simulator.reset(3, TASKS[2], TrialSeed(7, 3, 0))
    frame = simulator.frame(3)
    assert frame.shape == (128, 256, 3)
    assert frame.std() > 20


def test_light_and_start_are_perturbed_as_in_mujoco(simulator, mujoco):
    plain, dimmed, moved = (perturbed(TASKS[0], one) for one in ((), (("light.dim", 0.6),), (("pose", 3),)))
    for slot, task in enumerate((plain, dimmed, moved)):
        simulator.reset(slot, task, task.trial_seed(7, 0))
    key = "observation/exterior_image_1_left"
    seen = [observation[key].astype(float) for observation in simulator.observe([0, 1])]
    assert np.abs(seen[1] - 0.6 * seen[0]).max() <= 3  # environments are drawn apart
    assert np.array_equal(simulator.initial_state(1), simulator.initial_state(0))
    mujoco.reset(0, moved, moved.trial_seed(7, 0))
    assert np.array_equal(simulator.initial_state(2), mujoco.initial_state(0))
    assert simulator.perturbation(1)["light.factor"] == 0.6


def test_a_run_succeeds_and_repeats(simulator, tmp_path, capsys):
    """The bundled policy, an episode a scene; ``simulator`` is closed first, for there is one at a time."""
    physics = simulator.describe()["physics"]
    simulator.close()
    run = tmp_path / "run"
    flags = ["--sim", "isaaclab", "--physics", physics, "--episodes", "1", "--slots", "3"]
    flags += ["--dtypes", "float32", "--videos", "none", "--quiet"]
    assert main(["run", *flags, "--results", str(run)]) == 0
    records = RunDirectory.open(run).records()
    assert [record.success for record in records] == [True, True, True]
    facts = RunDirectory.open(run).manifest["simulator"]
    assert (facts["simulator"], facts["physics"]) == ("isaaclab", physics)
    if physics == "newton":  # whatever the slots
        assert facts["determinism"] == "exact"
        capsys.readouterr()
        assert main(["verify", str(run), "--all", "--slots", "1"]) == 0
        assert "the same: 3 trials" in capsys.readouterr().out
    else:  # with as many slots
        assert facts["determinism"] == "statistical"
        assert facts["versions"].keys() >= {"ovphysx", "ovstage"}
        assert main(["run", *flags, "--results", str(tmp_path / "again")]) == 0
        again = RunDirectory.open(tmp_path / "again").records()
        assert [record.actions_sha256 for record in again] == [record.actions_sha256 for record in records]
