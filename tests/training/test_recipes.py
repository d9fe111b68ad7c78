from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from headless_eval.config.train import TrainConfig
from headless_eval.local_policy import load_policy
from headless_eval.policies.open_pi_zero.config import CONFIGS
from headless_eval.training.dataset import Demonstrations
from headless_eval.training.export import instruction_tokens
from headless_eval.training.recipes import TRAINABLE, make_recipe
from headless_eval.training.train import FlowTrainer

SETTINGS = TrainConfig(steps=3, batch=4, flow_samples=4, device="cpu", no_compile=True)
INSTRUCTIONS = ["put carrot on plate", "stack the green block on the yellow block", "pick coke can"]


def _demonstrations(folder, size=32):
    random = np.random.default_rng(0)
    count, horizon = 12, 4
    actions = random.uniform(-0.05, 0.05, (count, horizon, 7)).astype(np.float32)
    actions[..., 6] = random.choice([-1.0, 1.0], (count, horizon))
    state = random.uniform(-0.4, 0.4, (count, 8)).astype(np.float32)
    state[:, 3:7] /= np.linalg.norm(state[:, 3:7], axis=1, keepdims=True)
    block = {
        "exterior": random.integers(0, 256, (count, size, size, 3), np.uint8),
        "state": state,
        "actions": actions,
        "valid": np.ones((count, horizon), bool),
        "scene": random.integers(1, 4, count),
    }
    save_file(block, folder / "block.safetensors")
    return block, Demonstrations([folder / "block.safetensors"], torch.device("cpu"), relative=False)


def _small(name):
    """A configuration whose pictures are those of the demonstrations."""
    config = TRAINABLE[name]
    siglip = replace(config.model.siglip, image_size=32)
    return replace(config, model=replace(config.model, siglip=siglip))


@pytest.mark.parametrize(
    "name",
    [
        # One of them in the default tests; they differ in robot and flow times alone.
        pytest.param(name, marks=() if name == "open-pi-zero-tiny-beta" else pytest.mark.slow)
        for name in CONFIGS
        if "-tiny-" in name
    ],
)
def test_a_trained_policy_runs(name, tmp_path):
    block, data = _demonstrations(tmp_path)
    config = _small(name)
    tokenizer, tokens = instruction_tokens(
        config, [[text] for text in INSTRUCTIONS], tmp_path / "tokenizer.model"
    )
    assert tokens[..., 1].sum(1).max() < config.model.max_token_len
    trainer = FlowTrainer(SETTINGS, config, data, tokens)
    assert all(np.isfinite(float(trainer.train_step(0.0))) for _ in range(2))
    trainer.export(tmp_path / "policy", tokenizer)
    size = sum(file.stat().st_size for file in (tmp_path / "policy").glob("*.safetensors"))
    assert size < 5_000_000
    robot = config.robot
    observation = {
        robot.cameras[0].key: block["exterior"][0],
        robot.state[0].key: block["state"][0],
        "prompt": INSTRUCTIONS[0],
    }
    with load_policy(tmp_path / "policy") as policy:
        assert policy.robot == robot.name
        assert policy.infer(observation)["actions"].shape == (4, 7)


def test_the_labels_are_what_the_policy_turns_back_into_the_actions(tmp_path):
    block, data = _demonstrations(tmp_path)
    config = _small("open-pi-zero-tiny-beta")
    tokenizer, tokens = instruction_tokens(
        config, [[text] for text in INSTRUCTIONS], tmp_path / "tokenizer.model"
    )
    trainer = FlowTrainer(SETTINGS, config, data, tokens)
    trainer.export(tmp_path / "policy", tokenizer)
    with load_policy(tmp_path / "policy") as policy:
        inner = policy.policy
        for row in range(len(data)):
            rows = torch.tensor([row])
            chunk = trainer.recipe.chunks(rows)[0].numpy()
            actions = inner.conclude({"actions": chunk}, 0)["actions"]
            np.testing.assert_allclose(actions, block["actions"][row], atol=1e-5)
            observation = {
                "observation/image": block["exterior"][row],
                "observation/state": block["state"][row],
                "prompt": INSTRUCTIONS[0],
            }
            state = trainer.recipe.states(rows)[0].numpy()
            np.testing.assert_allclose(inner.prepare(observation).state, state, atol=1e-5)


def test_samplers_differ_in_their_times_alone(tmp_path):
    _, data = _demonstrations(tmp_path)
    seen = {}
    for sampler in ("uniform", "beta"):
        config = _small(f"open-pi-zero-tiny-{sampler}")
        _, tokens = instruction_tokens(
            config, [[text] for text in INSTRUCTIONS], tmp_path / "tokenizer.model"
        )
        trainer = FlowTrainer(SETTINGS, config, data, tokens)
        given = []
        trainer._loss = lambda *arguments, of=trainer, kept=given: (
            kept.append(arguments) or of.loss(*arguments)
        )
        for _ in range(2):
            trainer.train_step(0.0)
        seen[sampler] = given
    for one, other in zip(*seen.values(), strict=True):
        for index, (a, b) in enumerate(zip(one, other, strict=True)):
            parts = zip(a, b, strict=True) if isinstance(a, list) else [(a, b)]
            same = all(torch.equal(x, y) for x, y in parts)
            assert same == (index != len(one) - 1)


def test_uniform_times_of_an_observation_are_spread(tmp_path):
    _, data = _demonstrations(tmp_path)
    recipe = make_recipe(_small("open-pi-zero-tiny-uniform"), data, 0)
    times = recipe.times(32, 5, torch.Generator()).view(8, 4)
    assert torch.equal(times, recipe.times(32, 5, torch.Generator()).view(8, 4))
    assert not torch.equal(times, recipe.times(32, 6, torch.Generator()).view(8, 4))
    gaps = times.sort(1).values.diff(dim=1)
    assert torch.allclose(gaps, torch.full_like(gaps, 0.25), atol=1e-4)
