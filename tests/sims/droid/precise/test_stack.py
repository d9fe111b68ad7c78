"""The cube on the base: height decides; what the base's width decides is physics, and is tested with the simulator."""

import numpy as np
import pytest
from situations import moved, settled, steps_to_success, turned

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
