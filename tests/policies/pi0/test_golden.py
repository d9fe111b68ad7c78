"""The reference implementation's own answers, from raw observation to final actions."""

import json
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from pi0_cases import GOLDEN, load_golden

from headless_eval import load_policy
from headless_eval.policies.norm_stats import read_norm_stats
from headless_eval.policies.paligemma.tokenizer import Tokenizer
from headless_eval.policies.pi0.config import CONFIGS
from headless_eval.policies.pi0.formats.names import from_openpi, is_unread, to_openpi
from headless_eval.policies.pi0.model import Pi0
from headless_eval.policies.pi0.policy import Pi0Policy


def _error(found: np.ndarray, expected: np.ndarray) -> float:
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize(("kind", "error"), [("openpi_jax", 1e-4), ("openpi_pytorch", 1e-5)])
@pytest.mark.parametrize("name", ["pi0_droid", "pi0_libero", "pi05_droid", "pi05_libero"])
def test_loaded_policies_give_the_reference_actions(kind, error, name):
    """From raw observation to final actions, through the function that users call."""
    if kind == "openpi_jax" and find_spec("tensorstore") is None:
        pytest.skip("tensorstore is not installed (extra openpi)")
    case = load_golden(kind, name)
    noise, expected = case.stacked("noise"), case.stacked("actions")
    with load_policy(
        checkpoint=case.folder / "checkpoint",
        config_file=case.folder / "meta.json",
        tokenizer=GOLDEN / "tokenizer.model",
    ) as policy:
        single = [
            policy.infer(obs, draw)["actions"] for obs, draw in zip(case.observations, noise, strict=True)
        ]
        batched = [reply["actions"] for reply in policy.infer_batch(case.observations, noise)]
    assert _error(np.stack(single), expected) < error
    assert _error(np.stack(batched), expected) < error
    print(
        f"{kind}/{name}: {_error(np.stack(single), expected):.1e}, batched {_error(np.stack(batched), expected):.1e}"
    )


def test_single_observations_give_the_reference_actions(golden):
    policy = golden.policy()
    noise = golden.stacked("noise")
    for index, obs in enumerate(golden.observations):
        reply = policy.infer(obs, noise[index])
        assert reply["actions"].dtype == np.float32
        assert _error(reply["actions"], golden.values[f"{index}/actions"]) < 1e-6
        assert reply["policy_timing"]["infer_ms"] > 0


def test_a_batch_gives_the_reference_actions(golden):
    replies = golden.policy().infer_batch(golden.observations, golden.stacked("noise"))
    actions = np.stack([reply["actions"] for reply in replies])
    assert _error(actions, golden.stacked("actions")) < 1e-6


def test_inputs_equal_the_reference_inputs(golden):
    policy = golden.policy()
    for index, obs in enumerate(golden.observations):
        data = policy.prepare(obs)
        np.testing.assert_array_equal(data.tokens, golden.values[f"{index}/tokens"])
        np.testing.assert_array_equal(data.token_mask, golden.values[f"{index}/token_mask"])
        np.testing.assert_allclose(data.state, golden.values[f"{index}/state"], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["pi0_droid", "pi0_libero", "pi05_droid", "pi05_libero"])
def test_inputs_equal_those_of_the_jax_reference(name):
    case = load_golden("openpi_jax", name)
    config = case.config
    stats = read_norm_stats(case.folder / "checkpoint" / "assets" / config.asset_id / "norm_stats.json")
    policy = Pi0Policy(Pi0(config.model), config, stats, Tokenizer(GOLDEN / "tokenizer.model"))
    for index, obs in enumerate(case.observations):
        data = policy.prepare(obs)
        np.testing.assert_array_equal(data.images["base_0_rgb"], case.values[f"{index}/image0"])
        np.testing.assert_array_equal(data.tokens, case.values[f"{index}/tokens"])
        np.testing.assert_array_equal(data.token_mask, case.values[f"{index}/token_mask"])
        np.testing.assert_allclose(data.state, case.values[f"{index}/state"], rtol=1e-12, atol=1e-12)


def test_noise_and_images_reach_the_actions(golden):
    policy, obs, noise = golden.policy(), golden.observations[0], golden.stacked("noise")
    expected = golden.values["0/actions"]
    assert _error(policy.infer(obs, noise[1])["actions"], expected) > 1e-3
    image = next(key for key in obs if "image" in key)
    assert _error(policy.infer({**obs, image: 255 - obs[image]}, noise[0])["actions"], expected) > 1e-5


@pytest.mark.parametrize(("name", "file"), [("pi0_droid", "pi0"), ("pi05_droid", "pi05")])
def test_full_size_parameters_are_openpis(name, file):
    path = GOLDEN / "full_size" / f"{file}_pytorch_state_dict.json"
    if not path.is_file():
        pytest.skip(f"no golden data at {path}")
    theirs = {key: tuple(shape) for key, (shape, _) in json.loads(path.read_text()).items()}
    config = CONFIGS[name].model
    with torch.device("meta"):
        model = Pi0(config)
    ours = {to_openpi(key): tuple(value.shape) for key, value in model.state_dict().items()}
    read = {key: shape for key, shape in theirs.items() if not is_unread(from_openpi(key), config)}
    assert ours == read
    assert {from_openpi(key) for key in read} == set(model.state_dict())
