"""The ring over the post: it lies around it, and is as wide as its level says."""

import mujoco
import numpy as np
import pytest
from situations import moved, settled, steps_to_success, turned

from headless_eval.sims.droid.mujoco.model import build_model
from headless_eval.sims.droid.precise.thread import POST_HEIGHT, ThreadScene
from headless_eval.sims.droid.success import REST_STEPS

POST = np.array([0.5, 0.2, 0.0, 1, 0, 0, 0])
RING = np.array([0.502, 0.2, 0.0, 1, 0, 0, 0])


def _tracker():
    scene = ThreadScene(1, "", 10.0)
    return scene.tracker(scene.draw(np.random.default_rng(0)))


def test_a_ring_that_lies_around_the_post_is_success():
    tracker = _tracker()
    assert steps_to_success(tracker, settled(RING, POST)) == REST_STEPS
    assert tracker.measures()["final_error_mm"] == pytest.approx(2.0)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda s: moved(s, by=(0, 0, POST_HEIGHT)),
        lambda s: moved(s, by=(0.1, 0, 0)),
        lambda s: turned(s, [np.cos(0.06), np.sin(0.06), 0, 0]),
    ],
    ids=["on the post", "beside it", "leaning"],
)
def test_anything_less_is_not(spoil):
    assert steps_to_success(_tracker(), spoil(settled(RING, POST))) is None


@pytest.mark.parametrize("level", ThreadScene.levels)
def test_the_level_is_the_room_around_the_post(level):
    """Moved aside by a little less than half of it, the ring touches nothing; by a little more, the post."""
    scene = ThreadScene(1, "", level)
    model = build_model(scene)
    data = mujoco.MjData(model)
    names = ["ring", "post"]

    def contacts(aside):
        data.mocap_pos[0], data.mocap_quat[0] = POST[:3], POST[3:]
        start = model.joint("ring").qposadr[0]
        data.qpos[start : start + 7] = RING + np.array([aside - 0.002, 0, 0.002, 0, 0, 0, 0])
        mujoco.mj_forward(model, data)
        pairs = [{model.geom_bodyid[one.geom1], model.geom_bodyid[one.geom2]} for one in data.contact]
        return pairs.count({model.body(name).id for name in names})

    assert contacts(0.95 * level / 2000) == 0
    assert contacts(1.05 * level / 2000) > 0
