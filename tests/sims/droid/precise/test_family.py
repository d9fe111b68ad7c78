"""What graded tasks have in common: how far a target is turned, tilted and off."""

import numpy as np
import pytest
from situations import settled, turned

from headless_eval.sims.droid.bodies import Body
from headless_eval.sims.droid.geometry import yaw_quat
from headless_eval.sims.droid.precise.family import HEIGHT_TOLERANCE, UPRIGHT_DEG, tilt_deg, yaw_error
from headless_eval.sims.droid.precise.thread import ThreadTracker

POSE = np.array([0.5, 0.2, 0.0, 1, 0, 0, 0])


@pytest.mark.parametrize("degrees", [0.0, 3.0, 90.0, 180.0])
def test_tilt_is_the_angle_from_upright_whatever_the_yaw(degrees):
    half = np.radians(degrees) / 2
    assert tilt_deg(np.array([np.cos(half), np.sin(half), 0, 0])) == pytest.approx(degrees, abs=1e-5)
    assert tilt_deg(yaw_quat(1.0)) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize(
    ("turn", "symmetry", "left"), [(0.2, 4, -0.2), (1.5, 4, np.pi / 2 - 1.5), (1.5, 1, -1.5)]
)
def test_the_turn_that_is_left_is_the_least_that_looks_the_same(turn, symmetry, left):
    now = turned(settled(POSE, POSE), yaw_quat(turn))
    assert yaw_error(now, symmetry) == pytest.approx(left)


@pytest.mark.parametrize(
    ("above", "degrees", "stands"),
    [
        (0.9 * HEIGHT_TOLERANCE, 0.9 * UPRIGHT_DEG, True),
        (-0.9 * HEIGHT_TOLERANCE, 0.0, True),
        (1.1 * HEIGHT_TOLERANCE, 0.0, False),
        (-1.1 * HEIGHT_TOLERANCE, 0.0, False),
        (0.0, 1.1 * UPRIGHT_DEG, False),
    ],
)
@pytest.mark.parametrize("height", [0.0, 0.05])
def test_a_target_stands_upright_at_a_height(height, above, degrees, stands):
    half = np.radians(degrees) / 2
    lean = np.array([np.cos(half), np.sin(half), 0, 0])
    pose = POSE + np.array([0, 0, height + above, 0, 0, 0, 0])
    tracker = ThreadTracker(Body("ring", (), 0.1, 0.05))
    assert tracker.stands(turned(settled(pose, POSE), lean), height) == stands
