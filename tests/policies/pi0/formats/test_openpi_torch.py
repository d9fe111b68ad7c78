"""Reading and writing policies; every broken checkpoint gets one line that names what is wrong."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from pi0_cases import SMALL, SMALL_PI05, droid_observation, small_config
from safetensors.torch import load_file, save_file

from headless_eval.errors import UserError
from headless_eval.policies.pi0.checkpoint import load_model
from headless_eval.policies.pi0.config import read_config
from headless_eval.policies.pi0.formats.names import from_openpi, to_openpi
from headless_eval.policies.pi0.formats.openpi_torch import save_weights
from headless_eval.policies.pi0.policy import Pi0Policy

CPU = torch.device("cpu")


@pytest.fixture
def folder(policy, tmp_path):
    policy.save(tmp_path / "policy")
    return tmp_path / "policy"


def _refusal(folder, config=None) -> str:
    with pytest.raises(UserError) as caught:
        Pi0Policy.from_checkpoint(folder, config or read_config(folder / "config.toml"))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_saved_policy_is_the_same_policy(policy, folder):
    again = Pi0Policy.from_checkpoint(folder, read_config(folder / "config.toml"))
    assert again.config == policy.config
    noise = torch.randn(policy.noise_shape)
    obs = droid_observation()
    np.testing.assert_array_equal(again.infer(obs, noise)["actions"], policy.infer(obs, noise)["actions"])
    for name, value in policy.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name])
    assert sorted(path.name for path in folder.iterdir()) == [
        "assets",
        "config.toml",
        "model.safetensors",
        "tokenizer.model",
    ]


def test_other_types(policy, folder):
    again = Pi0Policy.from_checkpoint(folder, policy.config, dtype="bfloat16")
    assert {parameter.dtype for parameter in again.model.parameters()} == {torch.bfloat16}
    noise, obs = torch.randn(policy.noise_shape), droid_observation()
    np.testing.assert_allclose(
        again.infer(obs, noise)["actions"], policy.infer(obs, noise)["actions"], atol=0.5
    )


def test_shards_hold_the_same_weights_and_replace_each_other(policy, tmp_path):
    state = policy.model.state_dict()
    for limit in (20_000, 5_000, 10**9, 20_000):
        paths = save_weights(tmp_path, state, limit)
        assert sorted(tmp_path.glob("*.safetensors")) == paths
        largest = max(value.nbytes for value in state.values())
        assert all(sum(t.nbytes for t in load_file(p).values()) <= max(limit, largest) for p in paths)
        loaded = load_model(policy.config.model, tmp_path, CPU, torch.float32)
        assert all(torch.equal(value, state[name]) for name, value in loaded.state_dict().items())
    paths[1].unlink()
    with pytest.raises(UserError, match=f"{paths[1].name} is missing"):
        load_model(policy.config.model, tmp_path, CPU, torch.float32)


def test_names_translate_both_ways(policy):
    for name in policy.model.state_dict():
        assert from_openpi(to_openpi(name)) == name
        assert (to_openpi(name) == name) == name.startswith(("action_", "time_", "state_"))


def test_the_loaded_model_does_not_depend_on_its_file(policy, folder):
    again = Pi0Policy.from_checkpoint(folder, policy.config)
    noise, obs = torch.randn(policy.noise_shape), droid_observation()
    before = again.infer(obs, noise)["actions"]
    file = folder / "model.safetensors"
    with file.open("r+b") as opened:
        opened.seek(file.stat().st_size // 2)
        opened.write(b"\xff" * (file.stat().st_size // 2))
    np.testing.assert_array_equal(before, again.infer(obs, noise)["actions"])


def test_parameters_that_nothing_reads_may_be_there(folder, policy):
    config = policy.config.model
    state = load_file(folder / "model.safetensors")
    depth, width = config.gemma.depth, config.gemma.width
    language = "paligemma_with_expert.paligemma.model.language_model"
    state[f"{language}.norm.weight"] = torch.zeros(width)
    state[f"{language}.layers.{depth - 1}.mlp.up_proj.weight"] = torch.zeros(config.gemma.mlp_dim, width)
    state["paligemma_with_expert.gemma_expert.lm_head.weight"] = torch.zeros(1)
    # Some files hold the token embedding under the name of the output head tied to it.
    embedding = state.pop(f"{language}.embed_tokens.weight")
    state["paligemma_with_expert.paligemma.lm_head.weight"] = embedding
    save_file(state, folder / "model.safetensors")
    model = load_model(config, folder, CPU, torch.float32)
    assert torch.equal(model.language.embed_tokens.weight, embedding)


def _edit(folder, change) -> None:
    state = load_file(folder / "model.safetensors")
    change(state)
    save_file(state, folder / "model.safetensors")


def test_missing_and_surplus_parameters_are_named(folder):
    bias = "paligemma_with_expert.paligemma.model.multi_modal_projector.linear.bias"
    _edit(folder, lambda state: state.pop(bias))
    assert f"missing {bias}" in _refusal(folder)
    _edit(folder, lambda state: [state.pop(name) for name in sorted(state)[:5]])
    assert "(6 in all)" in _refusal(folder)
    _edit(folder, lambda state: state.update({"extra.weight": torch.zeros(2)}))
    assert "surplus extra.weight" in _refusal(folder)


def test_misshaped_parameters_are_named(folder):
    _edit(folder, lambda state: state.update({"action_in_proj.bias": torch.zeros(3)}))
    assert "action_in_proj.bias is (3,), not (16,)" in _refusal(folder)


def test_integers_are_named(folder):
    _edit(folder, lambda state: state.update({"action_in_proj.bias": torch.zeros(16, dtype=torch.int64)}))
    assert "no floating-point numbers action_in_proj.bias (int64)" in _refusal(folder)


def test_nan_is_named(folder):
    _edit(folder, lambda state: state["action_out_proj.weight"].__setitem__((0, 0), torch.nan))
    assert "NaN or infinity: action_out_proj.weight" in _refusal(folder)


def test_the_other_model_is_named(folder, policy):
    other = SMALL if policy.config.model.pi05 else SMALL_PI05
    message = _refusal(folder, replace(small_config(other), use_quantile_norm=False))
    assert ("are those of π0.5" in message) == policy.config.model.pi05


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_truncated_files(folder, keep):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:keep])
    message = _refusal(folder)
    assert "truncated" in message
    assert str(file) in message


def test_a_file_that_cannot_be_read(folder, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("headless_eval.checkpoints.safetensors_file.safe_open", refuse)
    assert _refusal(folder) == f"cannot read {folder / 'model.safetensors'}: Permission denied"


class _Bomb:
    def __reduce__(self):
        return (pytest.fail, ("the pickle was opened",))


def test_pickles_are_refused_unopened(folder):
    file = folder / "model.safetensors"
    file.write_bytes(pickle.dumps({"a": _Bomb()}))
    assert "is a pickle" in _refusal(folder)
    file.unlink()
    torch.save({"a": torch.zeros(1)}, file)
    assert "is a pickle" in _refusal(folder)
    file.rename(folder / "pytorch_model.bin")
    message = _refusal(folder)
    assert "pytorch_model.bin is a pickle" in message


def test_missing_pieces(folder, monkeypatch, tmp_path):
    monkeypatch.setenv("OPENPI_DATA_HOME", str(tmp_path / "cache"))
    tokenizer = folder / "tokenizer.model"
    cached = tmp_path / "cache" / "big_vision" / "paligemma_tokenizer.model"
    content = tokenizer.read_bytes()
    tokenizer.unlink()
    assert "no tokenizer" in _refusal(folder)
    cached.parent.mkdir(parents=True)
    cached.write_bytes(content)
    Pi0Policy.from_checkpoint(folder, read_config(folder / "config.toml"))
    (folder / "model.safetensors").unlink()
    assert "neither model.safetensors nor params" in _refusal(folder)
    stats = folder / "assets" / "droid" / "norm_stats.json"
    stats.unlink()
    assert f"no normalisation statistics at {stats}" in _refusal(folder)
    assert "no checkpoint at" in _refusal(folder / "nowhere", small_config(SMALL))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.pop("norm_stats"), "no 'norm_stats'"),
        (lambda table: table["norm_stats"].pop("state"), "no 'state'"),
        (lambda table: table["norm_stats"]["state"].pop("std"), "no 'std'"),
        (lambda table: table["norm_stats"]["state"]["mean"].pop(), "differ in length"),
        (lambda table: table["norm_stats"]["actions"].update(mean=["x"] * 8), "no list of numbers"),
        (lambda table: table["norm_stats"]["actions"].update(mean=[None] * 8), "no list of numbers"),
        (lambda table: table["norm_stats"]["actions"].update(std=[float("nan")] * 8), "finite numbers"),
        (
            lambda table: [
                of.update({k: v[:5] for k, v in of.items()}) for of in table["norm_stats"].values()
            ],
            "have 5 numbers, the robot 8",
        ),
    ],
)
def test_broken_statistics(folder, change, message):
    path = folder / "assets" / "droid" / "norm_stats.json"
    table = json.loads(path.read_text())
    change(table)
    path.write_text(json.dumps(table))
    assert message in _refusal(folder)


def test_statistics_that_are_no_json(folder):
    path = folder / "assets" / "droid" / "norm_stats.json"
    path.write_text(path.read_text()[:50])
    assert "cannot read normalisation statistics" in _refusal(folder)
