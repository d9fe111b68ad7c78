"""Training of the small ACT by LeRobot's code."""

import sys

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from training_cases import random_observations

from headless_eval.cli.main import main
from headless_eval.config.train import TrainConfig
from headless_eval.local_policy import load_policy
from headless_eval.training.dataset import Demonstrations

SETTINGS = TrainConfig(policy="act-droid-tiny", steps=3, batch=4, device="cpu", no_compile=True)


def test_without_lerobot_the_error_is_one_line(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "lerobot", None)
    assert main(["train", "--policy", "act-droid-tiny", "--results", str(tmp_path), "--device", "cpu"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "training act-droid-tiny needs LeRobot's package" in error


@pytest.fixture(scope="module")
def block(tmp_path_factory):
    path = tmp_path_factory.mktemp("act") / "block.safetensors"
    save_file(random_observations(12, 8), path)
    return path


@pytest.mark.lerobot
def test_a_trained_policy_is_one_that_runs_and_stays_with_its_joints(block, tmp_path):
    from headless_eval.training.act import ActTrainer

    data = Demonstrations([block], torch.device("cpu"))
    trainer = ActTrainer(SETTINGS, data)
    assert all(np.isfinite(float(trainer.train_step(0.0))) for _ in range(2))
    trainer.export(tmp_path / "policy")
    joints = np.full(7, 40, np.float32)  # far from all demonstrations: actions are relative to them
    observation = {
        "observation/exterior_image_1_left": data.exterior[0].numpy(),
        "observation/wrist_image_left": data.wrist[0].numpy(),
        "observation/joint_position": joints,
        "observation/gripper_position": np.zeros(1, np.float32),
        "prompt": "put the cube in the bowl",
    }
    with load_policy(tmp_path / "policy") as policy:
        actions = policy.infer(observation)["actions"]
        assert (actions.shape, policy.open_loop_horizon, policy.robot) == ((10, 8), 8, "droid")
    assert abs(actions[:, :7] - 40).max() < 5
    assert abs(actions[:, 7]).max() < 5


@pytest.mark.lerobot
def test_frozen_norms_are_set_by_the_first_pictures():
    from torchvision.models import resnet18
    from torchvision.ops.misc import FrozenBatchNorm2d

    from headless_eval.training.act import set_norms

    torch.manual_seed(0)
    backbone = resnet18(weights=None, norm_layer=FrozenBatchNorm2d)
    pictures = torch.rand(16, 3, 32, 32)
    seen = {}
    last = [module for module in backbone.modules() if isinstance(module, FrozenBatchNorm2d)][-1]
    last.register_forward_hook(lambda _module, _inputs, output: seen.update(output=output.clone()))
    with torch.no_grad():
        backbone(pictures)
        before = seen["output"].std()
        set_norms(backbone, pictures)
        backbone(pictures)
    assert abs(float(seen["output"].std()) - 1) < 0.1
    assert abs(float(seen["output"].mean())) < 0.01
    assert not 0.9 < float(before) < 1.1


@pytest.mark.lerobot
def test_a_resumed_training_goes_on_where_it_stopped(block, tmp_path):
    from headless_eval.training.act import ActTrainer

    data = Demonstrations([block], torch.device("cpu"))
    whole, halted, resumed = (ActTrainer(SETTINGS, data) for _ in range(3))
    for step in range(2):
        whole.train_step(step / 2)
    halted.train_step(0.0)
    halted.save(tmp_path / "training.safetensors")
    resumed.load(tmp_path / "training.safetensors")
    resumed.train_step(0.5)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
