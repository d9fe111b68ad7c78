"""The peg in the hole: depth and uprightness decide, and the hole is as wide as its level says."""

import numpy as np
import pytest
from situations import moved, settled, steps_to_success, turned

from headless_eval.sims.droid.precise.insert import BOARD_HEIGHT, DEPTH, PEG_DIAMETER, InsertScene
from headless_eval.sims.droid.success import REST_STEPS

BOARD = np.array([0.5, 0.2, 0.0, 1, 0, 0, 0])
PEG = np.array([0.5, 0.2, 0.0, 1, 0, 0, 0])


def _tracker():
    scene = InsertScene(1, "", 2.0)
    return scene.tracker(scene.draw(np.random.default_rng(0)))


def test_a_peg_deep_in_the_hole_is_success():
    tracker = _tracker()
    deep_enough = moved(settled(PEG, BOARD), by=(0.001, 0, BOARD_HEIGHT - 1.01 * DEPTH))
    assert steps_to_success(tracker, deep_enough) == REST_STEPS
    assert tracker.measures()["depth_mm"] == pytest.approx(1010 * DEPTH)
    assert tracker.measures()["final_error_mm"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda s: moved(s, by=(0, 0, BOARD_HEIGHT - 0.99 * DEPTH)),
        lambda s: moved(s, by=(0, 0, BOARD_HEIGHT)),
        lambda s: moved(s, by=(0.1, 0, 0)),
        lambda s: turned(s, [np.cos(0.06), np.sin(0.06), 0, 0]),
    ],
    ids=["not deep enough", "on the board", "beside it", "leaning"],
)
def test_anything_less_is_not(spoil):
    assert steps_to_success(_tracker(), spoil(settled(PEG, BOARD))) is None


@pytest.mark.parametrize("level", InsertScene.levels)
def test_the_level_is_the_clearance(level):
    boxes = InsertScene(1, "", level).goal.shapes
    sides = [(np.abs(box.pos) - box.size)[:2] for box in boxes]
    gaps = [side[np.argmax(np.abs(box.pos[:2]))] for side, box in zip(sides, boxes, strict=True)]
    assert np.allclose(2 * np.array(gaps) - PEG_DIAMETER, level / 1000)
