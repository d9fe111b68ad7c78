"""The cube on the base: height decides, and physics, which topples a cube that is farther off than the level says."""

from dataclasses import replace

import mujoco
import numpy as np
import pytest
from situations import moved, settled, steps_to_success, turned

from headless_eval.sims.droid.mujoco.simulator import SceneModel, Slot
from headless_eval.sims.droid.precise.stack import BASE_HEIGHT, StackScene
from headless_eval.sims.droid.success import REST_STEPS

BASE = np.array([0.5, 0.2, 0.0, 1, 0, 0, 0])
CUBE = np.array([0.505, 0.2, BASE_HEIGHT, 1, 0, 0, 0])


def _tracker():
    scene = StackScene(1, "", 10.0)
    return scene.tracker(scene.draw(np.random.default_rng(0)))


def test_a_cube_that_stands_on_the_base_is_success():
    tracker = _tracker()
    assert steps_to_success(tracker, settled(CUBE, BASE)) == REST_STEPS
    assert tracker.measures()["final_error_mm"] == pytest.approx(5.0)
    assert tracker.measures()["height_mm"] == pytest.approx(1000 * BASE_HEIGHT)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda s: moved(s, by=(0, 0, -BASE_HEIGHT)),
        lambda s: moved(s, by=(0, 0, 0.01)),
        lambda s: moved(s, by=(0.2, 0, 0)),
        lambda s: turned(s, [np.cos(0.1), np.sin(0.1), 0, 0]),
    ],
    ids=["on the table", "above", "elsewhere", "leaning"],
)
def test_anything_less_is_not(spoil):
    assert steps_to_success(_tracker(), spoil(settled(CUBE, BASE))) is None


@pytest.mark.parametrize("level", StackScene.levels)
@pytest.mark.parametrize(("share", "stays"), [(0.9, True), (1.1, False)])
def test_the_level_is_how_far_off_a_cube_may_stand(level, share, stays):
    scene = StackScene(1, "", level)
    slot = Slot(SceneModel(scene))
    state = scene.draw(np.random.default_rng(0))
    poses = np.array([CUBE, BASE])
    poses[0, 0] = BASE[0] + share * level / 1000
    poses[0, 2] += 0.0005
    slot.reset(replace(state, poses=poses))
    for _ in range(40):
        mujoco.mj_step(slot.scene_model.model, slot.data, nstep=16)
    assert slot.tracker.is_there(slot.situation()) == stays
