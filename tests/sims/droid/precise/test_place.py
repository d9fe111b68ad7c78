"""The cube on the mark: what counts as there, and how far off it is."""

import numpy as np
import pytest
from situations import moved, moving, settled, steps_to_success, turned

from headless_eval.sims.droid.geometry import rotation, yaw_quat
from headless_eval.sims.droid.precise.family import CUBE as CUBE_SIDE
from headless_eval.sims.droid.precise.place import PlaceScene
from headless_eval.sims.droid.success import REST_STEPS

MARK = np.array([0.5, 0.2, 0.0, *yaw_quat(0.3)])
CUBE = np.array([0.5, 0.2, 0.0, *yaw_quat(0.3 + np.pi / 2)])


def _tracker(level=5.0):
    scene = PlaceScene(1, "", level)
    return scene.tracker(scene.draw(np.random.default_rng(0)))


def test_a_cube_that_stands_on_the_mark_for_half_a_second_is_success():
    assert steps_to_success(_tracker(), settled(CUBE, MARK)) == REST_STEPS


@pytest.mark.parametrize("level", PlaceScene.levels)
def test_the_level_is_the_tolerance(level):
    near = moved(settled(CUBE, MARK), by=(0.99 * level / 1000, 0, 0))
    far = moved(settled(CUBE, MARK), by=(0, -1.01 * level / 1000, 0))
    assert steps_to_success(_tracker(level), near)
    assert steps_to_success(_tracker(level), far) is None


@pytest.mark.parametrize(
    "spoil",
    [
        lambda s: moved(s, by=(0, 0, 0.01)),
        lambda s: turned(s, [np.cos(0.1), np.sin(0.1), 0, 0]),
        lambda s: moving(s, [0.05, 0, 0, 0, 0, 0]),
    ],
    ids=["in the air", "leaning", "moving"],
)
def test_anything_less_is_not(spoil):
    assert steps_to_success(_tracker(), spoil(settled(CUBE, MARK))) is None


@pytest.mark.parametrize(
    ("axis", "degrees"),
    [([1, 0, 0], 90), ([0, 1, 0], 90), ([0, -1, 0], 90), ([1, 0, 0], 180), ([1, 1, 0], 180)],
    ids=str,
)
def test_every_face_of_the_cube_can_be_the_upper_one(axis, degrees):
    """The middle stays; the origin, the middle of a face, is elsewhere."""
    half = np.radians(degrees) / 2
    quat = np.append(np.cos(half), np.sin(half) * np.array(axis) / np.linalg.norm(axis))
    origin = MARK[:3] + np.array([0, 0, CUBE_SIDE / 2]) - CUBE_SIDE / 2 * rotation(quat)[:, 2]
    tracker = _tracker()
    assert steps_to_success(tracker, settled([*origin, *quat], MARK)) == REST_STEPS
    assert tracker.measures()["final_error_mm"] == pytest.approx(0, abs=1e-6)


def test_a_cube_in_the_gripper_is_not_placed():
    held = settled(CUBE, MARK, tcp=(0.5, 0.2, 0.03), gripper_position=0.55)
    assert steps_to_success(_tracker(), held) is None


def test_errors_are_in_millimetres_and_degrees_modulo_a_quarter_turn():
    tracker = _tracker()
    tracker.update(turned(moved(settled(CUBE, MARK), by=(0.003, 0.004, 0)), yaw_quat(0.3 - np.pi + 0.2)))
    assert tracker.measures()["final_error_mm"] == pytest.approx(5.0)
    assert tracker.measures()["final_error_deg"] == pytest.approx(np.degrees(0.2))
