"""The full tray: what it feels on the way decides, and where it ends."""

import numpy as np
import pytest
from situations import moved, moving, settled, steps_to_success, turned

from headless_eval.sims.droid.precise.carry import GRAVITY, CarryScene, felt_tilt_deg
from headless_eval.sims.droid.success import REST_STEPS
from headless_eval.sims.droid.tabletop import CONTROL_HZ

ZONE = np.array([0.5, 0.2, 0.0, 1, 0, 0, 0])
REST = settled(ZONE, ZONE)
UP = moved(REST, by=(0, 0, 0.1))


def _tracker(level=9.0):
    scene = CarryScene(1, "", level)
    return scene.tracker(scene.draw(np.random.default_rng(0)))


def _lean(degrees):
    half = np.radians(degrees) / 2
    return turned(UP, [np.cos(half), np.sin(half), 0, 0])


def test_a_tray_that_stands_in_the_zone_is_success():
    assert steps_to_success(_tracker(), REST) == REST_STEPS
    assert steps_to_success(_tracker(), moved(REST, by=(0.05, 0, 0))) is None


@pytest.mark.parametrize(("degrees", "steps"), [(8.9, REST_STEPS), (9.1, None)])
def test_a_tray_that_leaned_too_far_has_spilled_for_good(degrees, steps):
    tracker = _tracker()
    assert not tracker.update(_lean(degrees))
    assert steps_to_success(tracker, REST) == steps
    assert tracker.measures()["largest_tilt_deg"] == pytest.approx(degrees)


def test_leaning_on_the_table_spills_nothing():
    tracker = _tracker()
    tracker.update(moved(_lean(20.0), by=(0, 0, -0.095)))
    assert tracker.measures()["largest_tilt_deg"] == 0


def test_a_jerk_spills_as_leaning_does():
    tracker, forward = _tracker(), 2.0  # metres per second squared
    for step in range(3):
        tracker.update(moving(UP, [forward * step / CONTROL_HZ, 0, 0, 0, 0, 0]))
    felt = np.degrees(np.arctan(forward / GRAVITY))
    assert tracker.measures()["largest_tilt_deg"] == pytest.approx(felt)
    assert felt > 9
    assert steps_to_success(tracker, REST) is None


def test_leaning_into_the_acceleration_keeps_the_water_level():
    half = np.radians(10.0) / 2
    lean = np.array([np.cos(half), 0, np.sin(half), 0])  # the normal points forward
    assert felt_tilt_deg(lean, np.array([GRAVITY * np.tan(2 * half), 0, 0])) == pytest.approx(0, abs=1e-6)
    assert felt_tilt_deg(lean, np.zeros(3)) == pytest.approx(10)
