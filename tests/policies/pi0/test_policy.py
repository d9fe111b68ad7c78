"""Observations in, actions out; what is refused, and how it is said."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from pi0_cases import SMALL, droid_observation, randomised, small_config, small_stats

from headless_eval.errors import UserError
from headless_eval.local_policy import LocalPolicy
from headless_eval.policies.norm_stats import NormStats
from headless_eval.policies.pi0.config import CONFIGS
from headless_eval.policies.pi0.policy import Pi0Policy


def test_batched_and_single_agree(policy):
    observations = [droid_observation(seed) for seed in range(3)]
    observations[1]["prompt"] = "put the can in the mug_now\n"
    noise = np.random.default_rng(0).normal(size=(3, *policy.noise_shape)).astype(np.float32)
    batched = policy.infer_batch(observations, noise)
    for obs, draw, reply in zip(observations, noise, batched, strict=True):
        alone = policy.infer(obs, draw)["actions"]
        assert alone.shape == (4, 8)
        np.testing.assert_allclose(reply["actions"], alone, rtol=1e-4, atol=1e-5)
    assert policy.infer_batch([]) == []


def test_a_row_of_a_batch_does_not_depend_on_the_others_of_its_key(tokenizer):
    """To the last bit, whether its prompt fills its slots, like none of the others, or is the shortest."""
    config = CONFIGS["pi0-droid-tiny"]
    policy = Pi0Policy(randomised(config.model), config, small_stats(), tokenizer)
    prompts = ["put the cube in the bowl", "put", "put the can in", "can"]
    observations = [{**droid_observation(seed), "prompt": prompt} for seed, prompt in enumerate(prompts)]
    assert {policy.prepare(obs).batch_key for obs in observations} == {8}
    assert len({len(tokenizer.prompt_tokens(prompt)) for prompt in prompts}) > 2
    noise = np.random.default_rng(0).normal(size=(4, *policy.noise_shape)).astype(np.float32)

    def actions(rows: list[int]) -> list[bytes]:
        replies = policy.infer_batch([observations[row] for row in rows], noise[rows])
        return [reply["actions"].tobytes() for reply in replies]

    together = actions([0, 1, 2, 3])
    for row in range(4):
        assert actions([row] * 4) == [together[row]] * 4


def test_the_key_is_the_number_of_slots_computed(policy):
    seen = []
    embed = policy.model.language.embed_tokens
    embed.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].shape[1]))
    for prompt in ("put", "put the cube in the bowl " * 3, "put the cube in the bowl " * 30):
        obs = {**droid_observation(), "prompt": prompt}
        policy.infer(obs)
        assert seen[-1] == policy.prepare(obs).batch_key
    assert len(set(seen)) > 1


def test_noise_comes_from_torchs_generator(policy):
    obs = droid_observation()
    torch.manual_seed(3)
    first, second = policy.infer(obs)["actions"], policy.infer(obs)["actions"]
    torch.manual_seed(3)
    noise = torch.randn(policy.noise_shape)
    np.testing.assert_array_equal(first, policy.infer(obs, noise)["actions"])
    assert not np.array_equal(first, second)
    with pytest.raises(ValueError, match="noise has shape"):
        policy.infer(obs, noise[:2])


def test_observations_are_left_alone(policy):
    obs = droid_observation()
    kept = {key: np.copy(value) for key, value in obs.items()}
    policy.infer(obs)
    for key, value in kept.items():
        np.testing.assert_array_equal(obs[key], value)


def test_relative_actions_are_added_to_the_joints_and_the_gripper_is_not(policy):
    obs = droid_observation()
    data = policy.prepare(obs)
    chunk = np.zeros(policy.noise_shape)
    actions = policy.finish(chunk, data)
    stats, quantiles = policy.norm_stats["actions"], policy.config.use_quantile_norm
    plain = stats.unnormalize(np.zeros(8), quantiles)
    np.testing.assert_allclose(
        actions[:, :7] - plain[:7], np.tile(obs["observation/joint_position"], (4, 1)), 1e-5
    )
    np.testing.assert_allclose(actions[:, 7], plain[7], 1e-5)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("observation/joint_position", np.full(7, np.nan), "NaN"),
        ("observation/joint_position", np.zeros(6), "6 numbers, not 7"),
        ("observation/joint_position", ["a"] * 7, "no vector"),
        ("observation/gripper_position", np.array([np.inf]), "NaN or infinity"),
        ("observation/wrist_image_left", np.zeros((8, 8, 3), np.float32), "float32"),
        ("observation/wrist_image_left", np.zeros((3, 8, 8), np.uint8), "uint8"),
        ("observation/exterior_image_1_left", np.zeros((0, 8, 3), np.uint8), "(0, 8, 3)"),
        ("prompt", 3, "int"),
    ],
)
def test_bad_observations_name_the_key(policy, key, value, message):
    with pytest.raises(UserError) as caught:
        policy.infer_batch([droid_observation(), {**droid_observation(), key: value}])
    assert key in str(caught.value)
    assert message in str(caught.value)
    assert "observation 1" in str(caught.value)


@pytest.mark.parametrize("key", list(droid_observation()))
def test_missing_keys_are_named(policy, key):
    obs = droid_observation()
    del obs[key]
    with pytest.raises(UserError, match=f"has no '{key}'"):
        policy.infer(obs)


def test_a_gripper_without_an_axis_is_a_vector_of_one(policy):
    obs, noise = droid_observation(), torch.zeros(policy.noise_shape)
    scalar = {**obs, "observation/gripper_position": float(obs["observation/gripper_position"][0])}
    np.testing.assert_array_equal(policy.infer(obs, noise)["actions"], policy.infer(scalar, noise)["actions"])


def test_statistics_and_tokenizer_have_to_fit(tokenizer):
    model, config = randomised(SMALL), small_config(SMALL)
    for dims in (6, 14):
        with pytest.raises(UserError, match=f"state have {dims} numbers, the robot 8"):
            Pi0Policy(model, config, small_stats(dims), tokenizer)
    plain = {kind: NormStats(np.zeros(8), np.ones(8)) for kind in ("state", "actions")}
    with pytest.raises(UserError, match="no quantiles"):
        Pi0Policy(model, replace(config, use_quantile_norm=True), plain, tokenizer)
    short = replace(SMALL, vocab_size=100)
    with pytest.raises(UserError, match="the model 100"):
        Pi0Policy(randomised(short), small_config(short), small_stats(), tokenizer)


def test_statistics_may_cover_the_padding(tokenizer):
    padded = replace(SMALL, action_dim=12)
    stats = small_stats(12)
    short = {kind: NormStats(of.mean[:8], of.std[:8], of.q01[:8], of.q99[:8]) for kind, of in stats.items()}
    model, config = randomised(padded), small_config(padded)
    noise = torch.zeros(model.noise_shape)
    long_one, short_one = (
        Pi0Policy(model, config, of, tokenizer).infer(droid_observation(), noise) for of in (stats, short)
    )
    np.testing.assert_array_equal(long_one["actions"], short_one["actions"])


def test_an_observation_is_prepared_once(policy, tokenizer, monkeypatch):
    """Whatever the batches it goes through, and the repetitions that fill them up."""
    calls = []
    slots = type(tokenizer).slots
    monkeypatch.setattr(
        type(tokenizer), "slots", lambda self, *given: (calls.append(given[0]), slots(self, *given))[1]
    )
    monkeypatch.setattr(type(tokenizer), "prompt_tokens", counting := Counting(type(tokenizer).prompt_tokens))
    observations = [{**droid_observation(seed), "prompt": f"put number {seed}"} for seed in range(5)]
    with LocalPolicy(policy, "policy", max_batch=4) as local:
        local.infer(observations[0])  # and a second one, to try whether rows depend on each other
        assert len(calls) == counting.calls == 2
        local.infer_batch(observations)
        assert calls[2:] == [obs["prompt"] for obs in observations]
        assert counting.calls == 7
        assert local.timing.observations == 6


class Counting:
    """A method that counts how often it is called."""

    def __init__(self, method):
        self.method, self.calls = method, 0

    def __get__(self, owner, kind):
        def call(*given):
            self.calls += 1
            return self.method(owner, *given)

        return call


def test_modules_are_called_where_hooks_are_to_see_them(policy):
    engine = policy.engine
    with policy.computed_by_module():
        assert policy.engine is not engine
        assert policy.engine_name == "eager"
    assert policy.engine is engine


def test_it_declares_what_the_contract_asks_for(policy):
    declared = policy.robot, policy.open_loop_horizon, policy.image_size, policy.stateless
    config = policy.config
    assert declared == (config.observation, config.open_loop_horizon, config.model.siglip.image_size, True)
