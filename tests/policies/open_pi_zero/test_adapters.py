import json

import numpy as np
import pytest
from open_pi_zero_cases import REFERENCE

from headless_eval.policies.norm_stats import read_norm_stats
from headless_eval.policies.open_pi_zero import adapters, formats
from headless_eval.policies.open_pi_zero.config import CONFIGS


def _cases(name: str) -> dict[str, np.ndarray]:
    path = REFERENCE / f"adapter_{name}" / "cases.npz"
    if not path.is_file():
        pytest.skip(f"no golden data at {path}")
    with np.load(path) as stored:
        return dict(stored)


def _published(name: str):
    return read_norm_stats(formats._PUBLISHED / f"{name}.json")


@pytest.mark.parametrize("name", ["bridge", "fractal"])
def test_pictures_are_resized_as_opencv_does(name):
    cases = _cases(name)
    assert (adapters.resize(cases["image"], 224) == cases["resized"]).all()


def test_a_picture_of_the_right_size_stays_as_it_is():
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    assert adapters.resize(image, 32) is image


def test_the_state_of_bridge():
    cases = _cases("bridge")
    ours = np.stack([adapters.bridge_state(state) for state in cases["eef_pos"]])
    assert np.allclose(ours, cases["raw_proprio"], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["bridge", "fractal"])
def test_states_are_normalised_by_the_published_statistics(name):
    cases = _cases(name)
    ours = _published(name)["state"].normalize(cases["raw_proprio"], use_quantiles=True).clip(-1, 1)
    assert np.allclose(ours, cases["normalized_proprio"], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["bridge", "fractal"])
def test_the_published_statistics(name):
    path = REFERENCE / f"{name}_statistics.json"
    if not path.is_file():
        pytest.skip(f"no golden data at {path}")
    theirs = json.loads(path.read_text())
    ours = formats.find_norm_stats(path.parent, CONFIGS[f"open_pi_zero_{name}"])
    for kind, of in (("state", theirs["proprio"]), ("actions", theirs["action"])):
        for key, name_there in (("q01", "p01"), ("q99", "p99"), ("mean", "mean"), ("std", "std")):
            assert getattr(ours[kind], key).tolist() == of[name_there]


def test_no_rotation_is_no_rotation():
    assert (adapters.axis_angle(np.zeros(3)) == 0).all()


def test_a_gripper_that_has_begun_to_move_goes_on_for_fifteen_steps():
    gripper = adapters.StickyGripper()

    def told(openness: list[float]) -> list[float]:
        chunk = np.zeros((len(openness), 7))
        chunk[:, 6] = openness
        return gripper.actions(chunk)[:, 6].tolist()

    assert told([0.5, 0.3, 0.7]) == pytest.approx([0.0, 0.4, -0.4])  # too little to begin with
    assert told([0.0, *[1.0] * 14]) == [1.0] * 15
    assert told([1.0]) == [-1.0]
