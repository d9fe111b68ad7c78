"""Where demonstrations start."""

import numpy as np
import pytest

from headless_eval.sims.droid.mujoco.simulator import SceneModel, Slot
from headless_eval.sims.droid.precise.scenes import SCENES
from headless_eval.training.expert_arm import draw_start, gripper_yaw


@pytest.fixture(scope="module")
def slot():
    return Slot(SceneModel(next(scene for scene in SCENES if scene.key == "press_20mm")))


def test_a_third_of_the_demonstrations_start_elsewhere_over_the_table(slot):
    generator = np.random.default_rng(0)
    state = slot.scene_model.scene.draw(generator)
    starts = [draw_start(slot.scene_model, state, generator, 0.3) for _ in range(60)]
    elsewhere = [start for start in starts if start is not state]
    assert 12 <= len(elsewhere) <= 30
    for start in elsewhere[:8]:
        assert start.choice == state.choice
        np.testing.assert_array_equal(start.poses, state.poses)
        slot.reset(start)
        assert 0.29 < slot.situation().tcp[2] < 0.41
        assert abs(gripper_yaw(slot)) < 0.82
