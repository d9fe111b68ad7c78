"""Resumption of a training, and the folder that it claims."""

import torch
from rich.console import Console

from headless_eval.cli.main import main
from headless_eval.config.train import TrainConfig
from headless_eval.policies.pi0.config import CONFIGS
from headless_eval.sims.droid.scenes import SCENES
from headless_eval.training.export import instruction_tokens
from headless_eval.training.train import FlowTrainer
from headless_eval.training.trainer import fit

SETTINGS = TrainConfig(steps=3, batch=4, flow_samples=2, device="cpu", no_compile=True)


def _trainer(data, folder):
    instructions = [[scene.instruction] for scene in SCENES]
    config = CONFIGS["pi0-droid-tiny"]
    _, tokens = instruction_tokens(config, instructions, folder / "tokenizer.model")
    return FlowTrainer(SETTINGS, config, data, tokens)


def test_a_resumed_training_goes_on_where_it_stopped(data, folder):
    console = Console(quiet=True)
    whole = _trainer(data, folder)
    for step in range(3):
        whole.train_step(step / 3)
    halted = _trainer(data, folder)
    halted.train_step(0.0)
    halted.save(folder / "training.safetensors")
    resumed = _trainer(data, folder)
    resumed.load(folder / "training.safetensors")
    fit(resumed, console, lambda: None)
    assert resumed.step == whole.step == 3
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
    for name, value in whole.average.items():
        assert torch.equal(value, resumed.average[name]), name


def test_a_folder_with_another_training_is_refused(tmp_path, capsys):
    (tmp_path / "settings.json").write_text('{"policy": "another"}')
    assert main(["train", "--results", str(tmp_path), "--device", "cpu"]) == 2
    assert "name another --results" in capsys.readouterr().err
