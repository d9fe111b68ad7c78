"""Noise in what a policy is shown."""

import numpy as np
import pytest

from headless_eval.contracts.robots.droid import DROID
from headless_eval.sims.noise import Noise
from headless_eval.sims.perturbation import AXES

CAMERA, JOINTS, GRIPPER = DROID.cameras[0].key, DROID.state[0].key, DROID.state[1].key


def observation():
    picture = np.full((64, 48, 3), 100, np.uint8)
    picture[:, 24:] = 160
    return DROID.example_observation() | {camera.key: picture.copy() for camera in DROID.cameras}


def disturbed(*perturbation, steps=0, seed=0):
    noise = Noise(AXES["noise"].sizes(perturbation), np.random.default_rng(seed))
    for _ in range(steps):
        noise.advance()
    seen = observation()
    noise.disturb(seen, DROID)
    return seen


def test_grain_and_readings_have_the_size_that_was_asked_for():
    grainy = disturbed(("noise.pixels", 8))
    off = grainy[CAMERA].astype(int) - observation()[CAMERA]
    assert off.std() == pytest.approx(8, rel=0.05)
    assert abs(off.mean()) < 0.3
    assert np.array_equal(grainy[JOINTS], observation()[JOINTS])
    readings = [disturbed(("noise.joints", 0.01), steps=step)[JOINTS] for step in range(200)]
    assert np.std(readings) == pytest.approx(0.01, rel=0.1)


def test_what_is_no_angle_and_what_is_no_picture_stay_as_they_are():
    seen = disturbed(("noise", 5))
    assert np.array_equal(seen[GRIPPER], observation()[GRIPPER])
    assert seen["prompt"] == observation()["prompt"]
    assert seen[JOINTS].dtype == np.float32


def test_noise_depends_on_seed_and_step_not_on_how_often_it_is_asked_for():
    first, again = disturbed(("noise", 3), steps=8), disturbed(("noise", 3), steps=8)
    assert all(np.array_equal(first[key], again[key]) for key in (CAMERA, JOINTS))
    for other in (disturbed(("noise", 3), steps=16), disturbed(("noise", 3), steps=8, seed=1)):
        assert not np.array_equal(first[CAMERA], other[CAMERA])
        assert not np.array_equal(first[JOINTS], other[JOINTS])


@pytest.mark.parametrize("quantity", ["blur", "jpeg"])
def test_blur_and_compression_lose_edges(quantity):
    size = {"blur": 2.0, "jpeg": 95.0}[quantity]
    seen = disturbed((f"noise.{quantity}", size))[CAMERA].astype(int)
    assert seen.shape == (64, 48, 3)
    assert not np.array_equal(seen, observation()[CAMERA])
    assert abs(seen.mean() - observation()[CAMERA].mean()) < 10


def test_nothing_is_changed_without_a_size():
    assert np.array_equal(disturbed()[CAMERA], observation()[CAMERA])
