import numpy as np
import pytest
from PIL import Image

from headless_eval.contracts.robots import ROBOTS
from headless_eval.policies.norm_stats import NormStats
from headless_eval.policies.pi0.transforms import (
    AbsoluteActions,
    PadState,
    RobotInputs,
    compose,
    resize_with_pad,
)


@pytest.mark.parametrize(("height", "width"), [(180, 320), (320, 180), (50, 50), (1, 400), (224, 224)])
def test_resize_keeps_the_aspect_and_centres_on_black(height, width):
    image = np.full((height, width, 3), 200, np.uint8)
    resized = resize_with_pad(image, 64)
    assert resized.shape == (64, 64, 3)
    lit = resized[..., 0] == 200
    rows, columns = lit.any(axis=1), lit.any(axis=0)
    longest = max(height, width)
    assert rows.sum() == max(1, height * 64 // longest)
    assert columns.sum() == max(1, width * 64 // longest)
    for axis in (rows, columns):
        before, after = axis.argmax(), axis[::-1].argmax()
        assert 0 <= after - before <= 1
    assert set(np.unique(resized)) <= {0, 200}


def test_resize_is_bilinear():
    image = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(image).resize((12, 12), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(resize_with_pad(image, 12), expected)
    assert resize_with_pad(image, 20) is image


def test_normalisation_has_the_properties_it_is_for():
    rng = np.random.default_rng(1)
    samples = rng.normal(3, 2, size=(4000, 5))
    stats = NormStats(
        samples.mean(0),
        samples.std(0),
        np.quantile(samples, 0.01, axis=0),
        np.quantile(samples, 0.99, axis=0),
    )
    plain = stats.normalize(samples, False)
    np.testing.assert_allclose(plain.mean(0), 0, atol=1e-9)
    np.testing.assert_allclose(plain.std(0), 1, atol=1e-5)
    by_quantile = stats.normalize(samples, True)
    np.testing.assert_allclose((by_quantile < -1).mean(0), 0.01, atol=0.002)
    np.testing.assert_allclose((by_quantile > 1).mean(0), 0.01, atol=0.002)
    for quantiles, normal in ((False, plain), (True, by_quantile)):
        np.testing.assert_allclose(stats.unnormalize(normal, quantiles), samples, atol=1e-9)


def test_a_dimension_that_never_moves_stays_finite():
    still = NormStats(np.ones(2), np.zeros(2), np.ones(2), np.ones(2))
    for quantiles in (False, True):
        assert np.isfinite(still.normalize(np.ones(2), quantiles)).all()
    with pytest.raises(ValueError, match="no quantiles"):
        NormStats(np.ones(2), np.ones(2)).normalize(np.ones(2), True)


def test_steps_compose_and_leave_their_argument_alone():
    data = {"actions": np.zeros((2, 3)), "state": np.array([1.0, 2, 3])}
    out = compose([AbsoluteActions((True, False)), PadState(5)], data)
    np.testing.assert_array_equal(out["actions"], [[1, 0, 0], [1, 0, 0]])
    np.testing.assert_array_equal(out["state"], [1, 2, 3, 0, 0])
    np.testing.assert_array_equal(data["actions"], 0)


def test_libero_observations():
    image = np.zeros((4, 4, 3), np.uint8)
    obs = {
        "observation/image": image,
        "observation/wrist_image": image + 1,
        "observation/state": np.arange(8),
        "prompt": np.array("open the drawer"),
    }
    data = RobotInputs(ROBOTS["libero"])(obs)
    assert data["prompt"] == "open the drawer"
    assert [view[0, 0, 0] for view in data["images"].values()] == [0, 1]
    np.testing.assert_array_equal(data["state"], np.arange(8.0))
