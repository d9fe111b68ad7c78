"""Angles of bodies on the table."""

import numpy as np
import pytest

from headless_eval.sims.droid.geometry import wrap, yaw_of, yaw_quat


@pytest.mark.parametrize("yaw", [-3.0, -0.4, 0.0, 1.5])
def test_the_yaw_of_a_turn_about_the_vertical_is_its_angle(yaw):
    assert yaw_of(yaw_quat(yaw)) == pytest.approx(yaw)


@pytest.mark.parametrize(
    ("angle", "period", "wrapped"),
    [
        (3.5, 2 * np.pi, 3.5 - 2 * np.pi),
        (-3.5, 2 * np.pi, 2 * np.pi - 3.5),
        (2.0, np.pi, 2.0 - np.pi),
        (1.0, np.pi, 1.0),
    ],
)
def test_an_angle_wraps_into_the_interval_around_zero(angle, period, wrapped):
    assert wrap(angle, period) == pytest.approx(wrapped)
