"""Perturbed episodes in the real simulator, beside plain ones."""

import numpy as np
import pytest

from headless_eval.sims.droid.mujoco.simulator import TASKS, DroidMujoco
from headless_eval.sims.perturbation import WORLD, perturbed

SEEN = ("camera", "light", "texture", "objects")
PICTURES = ("observation/exterior_image_1_left", "observation/wrist_image_left")


@pytest.fixture(scope="module")
def simulator():
    simulator = DroidMujoco(num_slots=2, image_size=96, frame_size=96)
    yield simulator
    simulator.close()


def begin(simulator, slot, *perturbation, task=TASKS[0], episode=1):
    task = perturbed(task, perturbation)
    simulator.reset(slot, task, task.trial_seed(7, episode))
    return simulator.observe([slot])[0]


def swing(simulator, slot, steps=12):
    """Move the arm down and sideways, into things; return all that physics computed."""
    target = simulator.observe([slot])[0]["observation/joint_position"].astype(np.float64)
    for step in range(steps):
        target[:2] += [0.04, 0.05]
        result = simulator.step({slot: np.append(target, step % 2).astype(np.float32)})[slot]
        assert result.fault is None
    data = simulator._slots[slot].data
    return np.concatenate([data.qpos, data.qvel])


@pytest.mark.parametrize("axis", SEEN)
def test_axes_of_what_is_seen_change_pictures_and_no_bit_of_the_physics(simulator, axis):
    plain = begin(simulator, 0)
    state, moved = simulator.initial_state(0), swing(simulator, 0)
    seen = begin(simulator, 0, (axis, 3))
    assert np.array_equal(simulator.initial_state(0), state)
    assert all(
        np.array_equal(seen[key], plain[key]) == (key not in PICTURES) for key in plain if key != "prompt"
    )
    assert np.array_equal(swing(simulator, 0), moved)


def test_plain_episodes_beside_and_after_perturbed_ones_are_plain_to_the_bit(simulator):
    plain = begin(simulator, 0)
    moved = swing(simulator, 0)
    begin(simulator, 1, *((axis, 5) for axis in WORLD))
    beside = begin(simulator, 0)
    simulator.frame(1)
    assert all(np.array_equal(beside[key], plain[key]) for key in PICTURES)
    assert np.array_equal(swing(simulator, 0), moved)
    after = begin(simulator, 1)
    assert all(np.array_equal(after[key], plain[key]) for key in PICTURES)
    assert simulator.perturbation(1) == {}


def test_a_perturbed_episode_repeats_in_any_slot(simulator):
    everything = [(axis, 3) for axis in WORLD]
    one, other = (begin(simulator, slot, *everything) for slot in (0, 1))
    assert all(np.array_equal(one[key], other[key]) for key in PICTURES)
    assert simulator.perturbation(0) == simulator.perturbation(1) != {}
    assert np.array_equal(simulator.initial_state(0), simulator.initial_state(1))


def test_the_gripper_is_seen_though_walls_are_far_away(simulator):
    """MuJoCo's clipping planes are multiples of the scene's extent."""
    key = "observation/wrist_image_left"
    plain, walled = begin(simulator, 0)[key], begin(simulator, 0, ("texture.background", 10.0))[key]
    dark = [(picture[:40].max(axis=2) < 40).mean() for picture in (plain, walled)]
    assert dark[0] > 0.1
    assert dark[1] == pytest.approx(dark[0], abs=0.02)


def test_further_bodies_rest_on_the_table_and_are_in_the_initial_state(simulator):
    plain = begin(simulator, 0)
    length = len(simulator.initial_state(0))
    for episode in range(4):
        seen = begin(simulator, 0, ("distractors", 4), episode=episode)
        number = int(simulator.perturbation(0)["distractors.bodies"])
        assert len(simulator.initial_state(0)) == length + 7 * number
        slot = simulator._slots[0]
        action = np.append(seen["observation/joint_position"], 0.0).astype(np.float32)
        for _ in range(15):
            simulator.step({0: action})
        for one in slot.scene_model.strangers:
            joint = slot.data.joint(one.body.name)
            assert joint.qpos[2] == pytest.approx(0, abs=0.004)
            assert np.hypot(*(joint.qpos[:2] - (one.x, one.y))) < 0.02
    assert not np.array_equal(plain[PICTURES[0]], seen[PICTURES[0]])
