"""LeRobot's folders: the reference's weights and statistics in that layout give the reference's actions."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from lerobot_cases import POSTPROCESSOR, PREPROCESSOR, lerobot_config, write_lerobot
from pi0_cases import GOLDEN, SMALL, droid_observation, load_golden
from safetensors.torch import load_file, save_file

from headless_eval import load_policy
from headless_eval.contracts.robots import ROBOTS, Camera
from headless_eval.errors import UserError
from headless_eval.policies.norm_stats import read_norm_stats, write_norm_stats
from headless_eval.policies.paligemma.config import GEMMA_2B
from headless_eval.policies.pi0.formats.lerobot import is_lerobot, read_lerobot_config
from headless_eval.policies.registry import find_config


def _load(case, folder):
    return load_policy(
        checkpoint=folder, config_file=case.folder / "meta.json", tokenizer=GOLDEN / "tokenizer.model"
    )


def test_parity(golden, tmp_path):
    folder = write_lerobot(golden, tmp_path / "policy")
    expected = golden.stacked("actions")
    with _load(golden, folder) as policy:
        replies = policy.infer_batch(golden.observations, golden.stacked("noise"))
    actions = np.stack([reply["actions"] for reply in replies])
    # Its statistics are float32, and it adds 1e-8 to deviations where openpi adds 1e-6.
    assert np.abs(actions - expected).max() / np.abs(expected).max() < 1e-5


def test_statistics_are_of_states_before_and_of_actions_after(golden, tmp_path):
    folder = write_lerobot(golden, tmp_path / "policy")
    after = load_file(folder / POSTPROCESSOR)
    save_file({name: 2 * value for name, value in after.items()}, folder / POSTPROCESSOR)
    with _load(golden, folder) as policy:
        stats = policy.policy.norm_stats
    before = read_norm_stats(
        golden.folder / "checkpoint" / "assets" / golden.config.asset_id / "norm_stats.json"
    )
    np.testing.assert_allclose(stats["state"].mean, before["state"].mean, rtol=1e-6)
    np.testing.assert_allclose(stats["actions"].std, 2 * before["actions"].std, rtol=1e-6)
    assert stats["actions"].epsilon == 1e-8
    write_norm_stats(tmp_path / "norm_stats.json", stats)
    assert read_norm_stats(tmp_path / "norm_stats.json")["state"].epsilon == 1e-8


def test_missing_statistics_are_refused(golden, tmp_path):
    folder = write_lerobot(golden, tmp_path / "policy")
    save_file({"observation.images.x.mean": torch.zeros(3)}, folder / PREPROCESSOR)
    with pytest.raises(UserError, match="no normalisation statistics of state"):
        _load(golden, folder)
    (folder / PREPROCESSOR).unlink()
    (folder / POSTPROCESSOR).unlink()
    with pytest.raises(UserError, match="no normalisation statistics of state and actions"):
        _load(golden, folder)


@pytest.mark.parametrize("pi05", [False, True])
def test_the_configuration_comes_from_its_file(pi05, tmp_path):
    said = lerobot_config(pi05)
    (tmp_path / "config.json").write_text(json.dumps({**said, "use_relative_actions": True}))
    assert is_lerobot(tmp_path)
    config = find_config(tmp_path)
    assert (config.model.pi05, config.model.discrete_state_input, config.use_quantile_norm) == (pi05,) * 3
    assert (config.model.action_horizon, config.open_loop_horizon, config.action_dims) == (50, 10, 8)
    assert config.model.max_token_len == (200 if pi05 else 48)
    assert config.model.gemma == GEMMA_2B
    assert config.observation == "droid"
    assert config.delta_actions_mask == ROBOTS["droid"].delta_actions_mask
    (tmp_path / "config.json").write_text(json.dumps(lerobot_config(pi05, 7)))
    config = read_lerobot_config(tmp_path, "libero")
    assert (config.observation, config.delta_actions_mask) == ("libero", None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"output_features": {"action": {"shape": [14]}}}, "14 actions"),
        ({"normalization_mapping": {"STATE": "MIN_MAX", "ACTION": "MIN_MAX"}}, "MIN_MAX"),
        ({"paligemma_variant": "gemma_9b"}, "gemma_9b"),
        ({"chunk_size": None}, "no configuration"),
        ({"image_resolution": [448, 448]}, "448"),
    ],
)
def test_configurations_not_known_are_refused(change, message, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({**lerobot_config(True), **change}))
    with pytest.raises(UserError, match=message):
        read_lerobot_config(tmp_path)


def test_a_hub_id_already_cached(monkeypatch, tmp_path):
    case = load_golden("openpi_pytorch", "pi05_droid")
    repository = tmp_path / "hub" / "models--someone--pi05"
    folder = write_lerobot(case, repository / "snapshots" / "0123abc")
    shutil.copytree(folder, repository / "snapshots" / "newer")
    (repository / "snapshots" / "newer" / "model.safetensors").unlink()
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0123abc")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    with _load(case, "someone/pi05") as policy:
        assert policy.noise_shape == (15, 32)
    with pytest.raises(UserError, match="models--someone--other"):
        _load(case, "someone/other")


def test_addresses_stand_for_their_cached_copies(policy, monkeypatch, tmp_path):
    monkeypatch.setenv("OPENPI_DATA_HOME", str(tmp_path))
    policy.save(tmp_path / "bucket" / "checkpoints" / "mine")
    assert policy.config.model.action_horizon == SMALL.action_horizon
    with load_policy(checkpoint="gs://bucket/checkpoints/mine") as loaded:
        assert loaded.infer(droid_observation())["actions"].shape == (4, 8)
    with pytest.raises(UserError, match="headless-eval fetch gs://bucket/checkpoints/other"):
        load_policy(checkpoint="gs://bucket/checkpoints/other")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file"):
        load_policy(checkpoint=tmp_path / "file")


@pytest.fixture
def bridge(monkeypatch):
    """Yield a second robot with as many actions and numbers of state as LIBERO's, known while the test runs."""
    robot = replace(
        ROBOTS["libero"],
        name="bridge",
        cameras=(Camera("observation/over_shoulder", "base_0_rgb"),),
    )
    monkeypatch.setattr(ROBOTS, "_known", {**ROBOTS._known, "bridge": robot})
    return robot


def write_config(folder, **features):
    """Write LeRobot's configuration with these shapes of features, by the last part of their names."""
    said = lerobot_config(True, features.pop("actions", 7))
    said["input_features"] = {
        ("observation.state" if name == "state" else f"observation.images.{name}"): {"shape": shape}
        for name, shape in features.items()
    }
    (folder / "config.json").write_text(json.dumps(said))


def test_a_robot_is_not_guessed_among_several(bridge, tmp_path):
    write_config(tmp_path, state=[8], camera0=[3, 224, 224])
    with pytest.raises(
        UserError, match=r"7 actions and 8 numbers of state.*.*libero or .*bridge; name it"
    ) as said:
        find_config(tmp_path)
    assert "--robot NAME" in str(said.value)
    for name in ("libero", "bridge"):
        config = find_config(tmp_path, robot=name)
        assert (config.observation, config.asset_id) == (name, name)
    with pytest.raises(UserError, match="droid has 8 and 8"):
        find_config(tmp_path, robot="droid")
    with pytest.raises(UserError, match="did you mean bridge"):
        find_config(tmp_path, robot="bridged")


def test_cameras_tell_robots_apart_that_have_the_same_dimensions(bridge, tmp_path):
    write_config(tmp_path, state=[8], over_shoulder=[3, 224, 224])
    assert find_config(tmp_path).observation == "bridge"
    write_config(tmp_path, state=[8], image=[3, 224, 224], wrist_image=[3, 224, 224])
    assert find_config(tmp_path).observation == "libero"


def test_a_state_of_other_dimensions_is_another_robots(tmp_path):
    write_config(tmp_path, state=[7])
    with pytest.raises(UserError, match=r"7 actions and 7 numbers of state; known are .*libero \(7 and 8\)"):
        find_config(tmp_path)
    write_config(tmp_path, actions=8)
    assert find_config(tmp_path).observation == "droid"


@pytest.mark.parametrize("kind", [["pi0"], {"pi0": 1}, 5, None])
def test_a_type_that_is_no_text_is_no_type_of_ours(kind, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"type": kind, "input_features": {}}))
    assert not is_lerobot(tmp_path)
    with pytest.raises(UserError):
        load_policy(checkpoint=tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"chunk_size": 2**62},
        {"chunk_size": "10"},
        {"num_inference_steps": True},
        {"input_features": 5},
        {"input_features": {"observation.state": []}},
        {"output_features": {"action": {"shape": ["8"]}}},
        {"paligemma_variant": ["gemma_2b"]},
        {"normalization_mapping": {"STATE": [], "ACTION": {}}},
        {"image_resolution": 5},
    ],
)
def test_entries_of_other_types_are_one_line(changes, golden, tmp_path):
    folder = write_lerobot(golden, tmp_path / "policy")
    stated = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps(stated))
    with pytest.raises(UserError, match=r"config\.json"):
        read_lerobot_config(folder, golden.config.observation)
