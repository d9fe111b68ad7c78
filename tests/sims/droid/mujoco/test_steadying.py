"""A cube that is jammed in the bowl comes to rest; episodes that settle by themselves are left alone."""

from dataclasses import replace

import numpy as np
import pytest
from situations import moving, settled

from headless_eval.sims.droid.mujoco import steadying
from headless_eval.sims.droid.mujoco.simulator import SceneModel, Slot
from headless_eval.sims.droid.mujoco.steadying import RESTLESS_STEPS, Restlessness
from headless_eval.sims.droid.scenes import SCENES
from headless_eval.sims.droid.tabletop import ELSE, ROBOT


@pytest.fixture(scope="module")
def slot():
    return Slot(SceneModel(SCENES[0]))


def _drop(slot, number, steps=90):
    """Drop the cube into the bowl, turned in one of many ways; return its angular speeds, and if it succeeded."""
    generator = np.random.default_rng(0)
    for _ in range(number + 1):
        state = slot.scene_model.scene.draw(generator)
        sideways, height = generator.uniform(-0.03, 0.03, 2), generator.uniform(0.08, 0.15)
        turned = generator.normal(size=4)
    state.poses[0] = [*(state.poses[1, :3] + [*sideways, height]), *(turned / np.linalg.norm(turned))]
    slot.reset(state)
    still = np.append(state.joints, 0.0)
    speeds, succeeded = [], False
    for _ in range(steps):
        succeeded |= slot.step(still)
        speeds.append(np.linalg.norm(slot.situation().target_velocity[3:]))
    return np.array(speeds), succeeded


@pytest.mark.parametrize("number", [5, 21, 63])
def test_a_jammed_cube_comes_to_rest_and_counts(slot, number, monkeypatch):
    speeds, succeeded = _drop(slot, number)
    assert succeeded
    assert speeds[-30:].max() < 0.05
    monkeypatch.setattr(steadying, "RESTLESS_STEPS", np.inf)
    speeds, succeeded = _drop(slot, number)
    assert not succeeded
    assert speeds[-30:].max() > 0.3


def test_a_cube_that_settles_by_itself_is_left_alone(slot, monkeypatch):
    speeds, succeeded = _drop(slot, 1)
    assert succeeded
    monkeypatch.setattr(steadying, "RESTLESS_STEPS", np.inf)
    np.testing.assert_array_equal(_drop(slot, 1)[0], speeds)


def _restless(contacts=((1, 0), (0, ELSE))):
    pose = np.array([0.5, 0.2, 0.0, 1, 0, 0, 0])
    turning = moving(settled(pose, pose), [0, 0, 0, 0, 0.2, 0])
    return replace(turning, contacts=np.array(contacts, int).reshape(-1, 2))


def _after(*situations):
    restless = Restlessness()
    for now in situations:
        restless.update(now)
    return restless.needs_steadying


def test_a_second_of_turning_on_the_goal_is_too_long():
    turning = _restless()
    assert not _after(*[turning] * (RESTLESS_STEPS - 1))
    assert _after(*[turning] * RESTLESS_STEPS)


@pytest.mark.parametrize(
    "other",
    [
        _restless([]),  # it lies elsewhere
        _restless([(0, 1), (0, ROBOT)]),  # the robot touches it
        replace(_restless(), contacts=None),  # not told
    ],
    ids=["apart", "touched", "unknown"],
)
def test_anything_else_begins_anew(other):
    turning = _restless()
    assert not _after(*[other] * 60)
    assert not _after(*[turning] * (RESTLESS_STEPS - 1), other, turning)


def test_what_rests_in_between_goes_on_being_restless():
    turning = _restless()
    still = replace(turning, velocities=np.zeros((2, 6)))
    assert _after(*[turning, still] * RESTLESS_STEPS)
