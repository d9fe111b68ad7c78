from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from training_cases import random_observations

from headless_eval.cli.main import main
from headless_eval.config.train import TrainConfig
from headless_eval.local_policy import load_policy
from headless_eval.policies.pi0.config import CONFIGS
from headless_eval.sims.droid.scenes import SCENES
from headless_eval.training.dataset import Demonstrations
from headless_eval.training.export import instruction_tokens
from headless_eval.training.train import FlowTrainer

CONFIG = CONFIGS["pi0-droid-tiny"]


SETTINGS = TrainConfig(steps=3, batch=4, flow_samples=2, device="cpu", no_compile=True)


def test_absolute_actions_of_fewer_dimensions_are_kept_and_filled_up(tmp_path):
    """LIBERO's demonstrations: 7 actions, of which none is relative to the 8 numbers of the state."""
    block = random_observations(6, 7)
    save_file(block, tmp_path / "block.safetensors")
    data = Demonstrations([tmp_path / "block.safetensors"], torch.device("cpu"), relative=False)
    np.testing.assert_array_equal(data.actions[..., :7], block["actions"])
    assert not data.actions[..., 7].any()
    config = CONFIGS["pi0-libero-tiny"]
    tokenizer, tokens = instruction_tokens(config, [["pick up the milk"]], tmp_path / "tokenizer.model")
    trainer = FlowTrainer(SETTINGS, config, data, tokens)
    assert np.isfinite(float(trainer.train_step(0.5)))
    trainer.export(tmp_path / "policy", tokenizer)
    observation = {
        "observation/image": block["exterior"][0],
        "observation/wrist_image": block["wrist"][0],
        "observation/state": block["state"][0],
        "prompt": "pick up the milk",
    }
    with load_policy(tmp_path / "policy") as policy:
        assert policy.infer(observation)["actions"].shape == (10, 7)


def _trainer(data, folder, settings=SETTINGS):
    _, tokens = instruction_tokens(
        CONFIG, [[scene.instruction] for scene in SCENES], folder / "tokenizer.model"
    )
    return FlowTrainer(settings, CONFIG, data, tokens)


def test_the_loss_falls_on_one_batch(data, folder):
    trainer = _trainer(data, folder, replace(SETTINGS, learning_rate=3e-3))
    losses = [float(trainer.train_step(0.0)) for _ in range(12)]
    assert np.mean(losses[-4:]) < 0.9 * np.mean(losses[:2])


def test_the_exported_policy_is_one_that_runs(data, folder):
    trainer = _trainer(data, folder)
    tokenizer, _ = instruction_tokens(
        CONFIG, [[scene.instruction] for scene in SCENES], folder / "tokenizer.model"
    )
    trainer.export(folder / "policy", tokenizer)
    with load_policy(str(folder / "policy")) as policy:
        observation = {
            "observation/exterior_image_1_left": data.exterior[0].numpy(),
            "observation/wrist_image_left": data.wrist[0].numpy(),
            "observation/joint_position": data.state[0, :7].numpy(),
            "observation/gripper_position": data.state[0, 7:].numpy(),
            "prompt": SCENES[0].instruction,
        }
        actions = policy.infer(observation)["actions"]
    assert actions.shape == (10, 8)
    assert np.isfinite(actions).all()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--policy", "pi0-droid-tyni"], "pi0-droid-tiny"),
        (["--policy", "pi05_droid"], "pi0-libero-tiny"),
        (["--episodes", "0"], "--episodes is 0"),
        (["--device", "cuda"], "finds no CUDA GPU"),
        (["--device", "nope"], "unknown device"),
        (["--results", "/dev/null/x"], "cannot write"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_settings_are_one_line(flags, said, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["train", "--results", str(tmp_path), "--device", "cpu", *flags]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert said in error


def test_observations_come_with_one_of_the_sentences_of_their_instruction(data, folder):
    """Where there is one sentence each, nothing is drawn for it: batches are the ones they always were."""
    texts = [[scene.instruction, f"please {scene.instruction}"] for scene in SCENES]
    _, tokens = instruction_tokens(CONFIG, texts, folder / "tokenizer.model")
    settings = replace(SETTINGS, batch=64)
    many, one = (
        FlowTrainer(settings, CONFIG, data, tokens),
        FlowTrainer(settings, CONFIG, data, tokens[:, :1]),
    )
    # The tokens of the sentences follow from the instruction's number, which is as good a state.
    many.recipe.states = one.recipe.states = lambda rows: data.scene[rows, None].float().expand(-1, 8)
    (_, drawn, number, *_), (_, alone, same, *_) = many.draw(), one.draw()
    assert torch.equal(number, same)
    scene = number[:, 0].round().long() - 1
    assert torch.equal(alone, tokens[scene, 0])
    meant = (drawn[:, None] == tokens[scene]).flatten(2).all(2)
    assert (meant.sum(1) == 1).all()
    assert 16 < meant[:, 0].sum() < 48
    assert not torch.equal(many.generator.get_state(), one.generator.get_state())
