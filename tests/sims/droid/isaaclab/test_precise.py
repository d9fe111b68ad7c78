"""The suite droid_precise in Isaac Lab on Newton and PhysX, the real thing: scripts/test_isaaclab.sh runs these.

What the scripted expert sent to the joints in MuJoCo, one episode of each family, lies in demonstrations/, as
``benchmarks/isaaclab_precise.py record`` writes it; it is to be recorded anew when a scene's initial states change.
"""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("isaaclab", reason="Isaac Lab is not installed here: scripts/test_isaaclab.sh sets it up")

from headless_eval.contracts.simulator import hash_of_state
from headless_eval.sims.droid.suites import DroidSettings
from headless_eval.sims.droid.tabletop import HOME_JOINTS
from headless_eval.sims.registry import find_suite, find_tasks

pytestmark = pytest.mark.isaaclab

SEED = 7
FILES = sorted((Path(__file__).parent / "demonstrations").glob("*.npz"))
"""Of tasks and episodes that they are named by."""


def _demonstrations():
    """Return task, number of the episode, and what was recorded, of each file."""
    tasks = find_suite("droid_precise").load_tasks()
    names = [file.stem.rsplit("_", 1) for file in FILES]
    found = find_tasks(tasks, [key for key, _ in names])
    return [
        (task, int(number), dict(np.load(file)))
        for task, (_, number), file in zip(found, names, FILES, strict=True)
    ]


@pytest.fixture(scope="module", params=["newton", "physx"])
def simulator(request):
    if request.param == "physx":
        pytest.importorskip(
            "ovphysx", reason="PhysX is not installed here: scripts/test_isaaclab.sh sets it up"
        )
    settings = DroidSettings(sim="isaaclab", physics=request.param)
    tasks = [task for task, _, _ in _demonstrations()]
    simulator = find_suite("droid_precise").make(
        settings, num_slots=len(tasks), tasks=tasks, image_size=96, frame_size=96
    )
    yield simulator
    simulator.close()


def test_there_are_the_bodies_of_the_tasks_alone(simulator):
    names = sorted(body.name for body in simulator._population)
    buttons = [f"{colour}_button" for colour in ("blue", "green", "red", "yellow")]
    assert names == sorted(
        ["cube", "mark", "base", "peg", "board", "ring", "post", "tray", "zone", *buttons]
    )  # two tasks share the cube


def test_what_was_sent_to_the_joints_in_mujoco_does_the_same(simulator):
    """The insertion, the threading and the grasps hold; fixed bodies stay where they are, whatever touches them."""
    demonstrations = _demonstrations()
    for slot, (task, number, recorded) in enumerate(demonstrations):
        simulator.reset(slot, task, task.trial_seed(SEED, number))
        assert hash_of_state(simulator.initial_state(slot)) == hash_of_state(recorded["initial"])
    begun = simulator._read().poses
    solved, ends, carried = {}, {}, set()
    for step in range(max(len(recorded["actions"]) for _, _, recorded in demonstrations)):
        moving = {
            slot: recorded["actions"][step]
            for slot, (_, _, recorded) in enumerate(demonstrations)
            if slot not in solved and step < len(recorded["actions"])
        }
        if not moving:
            break
        for slot, result in simulator.step(moving).items():
            assert result.fault is None
            if result.success:
                solved.setdefault(slot, step)
            scene = simulator._scene_of(demonstrations[slot][0])
            now = simulator._situation(simulator._read(), slot, scene)
            ends[slot] = now.tcp if scene.bodies[0].fixed else now.target_pose[:3]
            if now.touched and now.target_pose[2] > 0.05:
                carried.add(scene.family)
    keys = [task.key for task, _, _ in demonstrations]
    assert sorted(keys[slot] for slot in solved) == sorted(keys)
    for slot, (task, _, recorded) in enumerate(demonstrations):
        assert np.linalg.norm(ends[slot] - recorded["end"]) < 0.005
        fixed = [
            index
            for index in simulator._indices(simulator._scene_of(task))
            if simulator._population[index].fixed
        ]
        assert fixed
        np.testing.assert_allclose(simulator._read().poses[slot, fixed], begun[slot, fixed], atol=1e-6)
        outcome = simulator.outcome(slot)
        assert outcome.reason is None
        assert outcome.metrics["final_error_mm"] >= 0
        assert outcome.metrics.keys() <= simulator.metrics.keys()
    # Newton tells what touches what.
    families = {"place", "stack", "insert", "thread", "carry"}
    assert carried == (families if simulator.describe()["physics"] == "newton" else set())


def test_an_episode_is_the_same_in_another_slot(simulator):
    task, number, recorded = next(one for one in _demonstrations() if one[0].key.startswith("insert"))
    ends = []
    for slot in (0, 3):
        simulator.reset(slot, task, task.trial_seed(SEED, number))
        for action in recorded["actions"][:32]:
            simulator.step({slot: action})
        now = simulator._read()
        ends.append(np.concatenate([now.joints[slot], now.poses[slot].ravel()]))
    if simulator.describe()["physics"] == "newton":
        np.testing.assert_array_equal(*ends)
    else:
        np.testing.assert_allclose(*ends, atol=1e-3)


def test_every_family_is_drawn(simulator):
    """In the picture of its slot, beside the robot: away from the bodies the pictures are alike."""
    hold = np.append(HOME_JOINTS, 0.0).astype(np.float32)
    for slot, (task, number, _) in enumerate(_demonstrations()):
        simulator.reset(slot, task, task.trial_seed(SEED, number))
    simulator.step({slot: hold for slot in range(simulator.num_slots)})
    frames = [simulator.frame(slot).astype(int) for slot in range(simulator.num_slots)]
    for index, frame in enumerate(frames):
        assert frame.shape == (96, 192, 3)
        for other in frames[:index]:
            assert 20 < (np.abs(frame - other).max(axis=2) > 60).sum() < 4000
