"""Demonstrations and training, on the CPU and at a small scale."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.numpy import load_file, save_file

from headless_eval.cli.main import main
from headless_eval.config.train import TrainConfig
from headless_eval.local_policy import load_policy
from headless_eval.policies.pi0.config import CONFIGS
from headless_eval.policies.trained_on import read_trained_on
from headless_eval.sims import gl
from headless_eval.sims.droid.mujoco.simulator import SceneModel
from headless_eval.sims.droid.scenes import SCENES
from headless_eval.training import demonstrations
from headless_eval.training.blocks import Block, write_block
from headless_eval.training.dataset import Demonstrations, augment
from headless_eval.training.export import instruction_tokens
from headless_eval.training.sources import SOURCES
from headless_eval.training.train import Trainer, fit

CONFIG = CONFIGS["pi0-droid-tiny"]
SETTINGS = TrainConfig(steps=3, batch=4, flow_samples=2, device="cpu", no_compile=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("training")
    SOURCES["droid"].collect(
        folder / "demonstrations", episodes=1, seed=5, horizon=10, image_size=96, workers=1
    )
    return folder


@pytest.fixture(scope="module")
def data(folder):
    return Demonstrations(sorted((folder / "demonstrations").glob("*.safetensors")), torch.device("cpu"))


def test_blocks_hold_observations_with_action_chunks(folder):
    for scene in SCENES:
        block = load_file(folder / "demonstrations" / f"scene_{scene.id}_000000_1.safetensors")
        count = len(block["scene"])
        assert count > 20
        assert (block["scene"] == scene.id).all()
        assert block["exterior"].shape == block["wrist"].shape == (count, 96, 96, 3)
        assert block["actions"].shape == (count, 10, 8)
        assert block["valid"][:, 0].all()
        assert (np.diff(block["valid"].astype(int), axis=1) <= 0).all()  # valid, then never again
        gripper = block["actions"][..., 7]
        assert set(np.unique(gripper)) == {0.0, 1.0}
        # After the worst disturbances the arm takes another way round; mostly a setpoint is near.
        ahead = np.abs(block["actions"][:, 0, :7] - block["state"][:, :7]).max(axis=1)
        assert 0.01 < np.median(ahead) < 0.4


def test_finished_blocks_are_kept(folder, monkeypatch):
    def refuse(*arguments):
        raise AssertionError("a finished block was collected again")

    monkeypatch.setattr(demonstrations, "collect_block", refuse)
    paths = SOURCES["droid"].collect(folder / "demonstrations", 1, 5, 10, 96, workers=1)
    assert all(path.exists() for path in paths)


def _random_observations(number, dims):
    generator = np.random.default_rng(0)
    pictures = generator.integers(0, 256, (number, 96, 96, 3), dtype=np.uint8)
    return {
        "exterior": pictures,
        "wrist": pictures,
        "state": generator.uniform(-1, 1, (number, 8)).astype(np.float32),
        "actions": generator.uniform(-1, 1, (number, 10, dims)).astype(np.float32),
        "valid": np.ones((number, 10), bool),
        "scene": np.ones(number, np.int64),
    }


@pytest.mark.parametrize(
    ("policy", "robot", "dims"), [("pi0-droid-tiny", "droid", 8), ("pi0-libero-tiny", "libero", 7)]
)
def test_where_all_demonstrations_are_there_no_simulator_is_needed(policy, robot, dims, tmp_path):
    source = SOURCES[robot]
    arrays = _random_observations(4, dims)
    rows = [{name: values[row] for name, values in arrays.items()} for row in range(4)]
    (tmp_path / "demonstrations").mkdir()
    for scene, _ in enumerate(source.tasks, 1):
        write_block(Block(scene, 0, 1, 0, 10, 96), tmp_path / "demonstrations", rows)
    code = (
        "import sys; sys.modules['mujoco'] = None; from headless_eval.cli.main import main; "
        "sys.exit(main(sys.argv[1:]))"
    )
    flags = ["--policy", policy, "--out", str(tmp_path), "--episodes", "1", "--device", "cpu"]
    flags += ["--steps", "1", "--batch", "2", "--flow-samples", "1"]
    done = subprocess.run([sys.executable, "-c", code, "train", *flags], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with load_policy(tmp_path / "policy") as trained:
        assert trained.config == CONFIGS[policy]
    assert read_trained_on(tmp_path / "policy") == source.trained_on


@pytest.mark.parametrize("policy", ["pi0-droid-tiny", "pi0-libero-tiny"])
def test_where_demonstrations_are_missing_so_must_opengl_not_be(policy, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MUJOCO_GL", "egl")
    monkeypatch.setattr(gl.ctypes.util, "find_library", lambda name: None)
    assert (
        main(["train", "--policy", policy, "--out", str(tmp_path), "--episodes", "1", "--device", "cpu"]) == 2
    )
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "libEGL is missing" in error


def test_demonstrations_repeat_bit_by_bit():
    model = SceneModel(SCENES[1])
    first, second = (demonstrations.demonstrate(model, np.random.default_rng(4), 10, 96) for _ in range(2))
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        for key in one:
            np.testing.assert_array_equal(one[key], other[key])


def test_absolute_actions_of_fewer_dimensions_are_kept_and_filled_up(tmp_path):
    """LIBERO's demonstrations: 7 actions, of which none is relative to the 8 numbers of the state."""
    block = _random_observations(6, 7)
    save_file(block, tmp_path / "block.safetensors")
    data = Demonstrations([tmp_path / "block.safetensors"], torch.device("cpu"), relative=False)
    np.testing.assert_array_equal(data.actions[..., :7], block["actions"])
    assert not data.actions[..., 7].any()
    config = CONFIGS["pi0-libero-tiny"]
    tokenizer, tokens = instruction_tokens(config, ["pick up the milk"], tmp_path / "tokenizer.model")
    trainer = Trainer(SETTINGS, config, data, tokens)
    assert np.isfinite(float(trainer.train_step(0.5)))
    trainer.export(tmp_path / "policy", config, tokenizer)
    observation = {
        "observation/image": block["exterior"][0],
        "observation/wrist_image": block["wrist"][0],
        "observation/state": block["state"][0],
        "prompt": "pick up the milk",
    }
    with load_policy(tmp_path / "policy") as policy:
        assert policy.infer(observation)["actions"].shape == (10, 7)


def test_training_draws_from_other_streams_than_trials():
    # A trial's streams have spawn keys of their own: no seed of an evaluation can meet these.
    assert demonstrations._SPAWN_KEY > 100


def test_statistics_and_relative_actions(data):
    stats = data.norm_stats()
    for kind in ("state", "actions"):
        assert all(len(stats[kind][key]) == 8 for key in ("mean", "std", "q01", "q99"))
        assert np.isfinite(stats[kind]["std"]).all()
    assert abs(np.array(stats["actions"]["mean"][:7])).max() < 0.3


def test_augmentation_keeps_the_picture_recognisable(data):
    rows = torch.arange(4)
    plain, _ = data.pictures(rows, None)
    jittered = augment(plain, torch.Generator().manual_seed(0))
    assert jittered.shape == plain.shape
    assert jittered.min() >= -1
    assert jittered.max() <= 1
    assert not torch.equal(jittered, plain)
    together = torch.stack([plain.flatten(), jittered.flatten()])
    assert torch.corrcoef(together)[0, 1] > 0.6


def _trainer(data, folder, settings=SETTINGS):
    _, tokens = instruction_tokens(
        CONFIG, [scene.instruction for scene in SCENES], folder / "tokenizer.model"
    )
    return Trainer(settings, CONFIG, data, tokens)


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


def test_the_loss_falls_on_one_batch(data, folder):
    trainer = _trainer(data, folder, replace(SETTINGS, learning_rate=3e-3))
    losses = [float(trainer.train_step(0.0)) for _ in range(12)]
    assert np.mean(losses[-4:]) < 0.9 * np.mean(losses[:2])


def test_the_exported_policy_is_one_that_runs(data, folder):
    trainer = _trainer(data, folder)
    tokenizer, _ = instruction_tokens(
        CONFIG, [scene.instruction for scene in SCENES], folder / "tokenizer.model"
    )
    trainer.export(folder / "policy", CONFIG, tokenizer)
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
        (["--out", "/dev/null/x"], "cannot write"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_settings_are_one_line(flags, said, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["train", "--out", str(tmp_path), "--device", "cpu", *flags]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert said in error


def test_a_folder_with_another_training_is_refused(tmp_path, capsys):
    (tmp_path / "settings.json").write_text('{"policy": "another"}')
    assert main(["train", "--out", str(tmp_path), "--device", "cpu"]) == 2
    assert "name another --out" in capsys.readouterr().err
