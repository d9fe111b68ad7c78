"""The preflight: a sound checkpoint passes, each broken one fails where it is broken, and loads say the same."""

import json
import shutil

import numpy as np
import pytest
import torch
from pi0_cases import GOLDEN, load_golden
from safetensors.torch import load_file, save_file

from headless_eval import load_policy
from headless_eval.cli.main import main
from headless_eval.errors import UserError
from headless_eval.policies.checks import FAILED, OK, SKIPPED, WARNING
from headless_eval.policies.device import memory_free
from headless_eval.policies.paligemma.tokenizer import Tokenizer
from headless_eval.policies.pi0 import policy
from headless_eval.policies.pi0 import preflight as preflight_module
from headless_eval.policies.pi0.preflight import (
    examine,
    fixed_observation,
    preflight,
)
from headless_eval.policies.registry import BUNDLED, find_config
from headless_eval.runs.doctor import trained_prompt

TOKENIZER = GOLDEN / "tokenizer.model"


@pytest.fixture
def sound(tmp_path):
    case = load_golden("openpi_pytorch", "pi05_droid")
    folder = tmp_path / "checkpoint"
    shutil.copytree(case.folder / "checkpoint", folder, copy_function=shutil.copyfile)
    return case, folder


def _results(case, folder, tokenizer=TOKENIZER):
    return {check.name: check for check in examine(folder, case.config, tokenizer)}


def _edit_stats(folder, change):
    path = folder / "assets" / "droid" / "norm_stats.json"
    table = json.loads(path.read_text())
    change(table["norm_stats"])
    path.write_text(json.dumps(table))


def _edit_weights(folder, change):
    state = load_file(folder / "model.safetensors")
    change(state)
    save_file(state, folder / "model.safetensors")


def test_reference_cases_pass(golden):
    checks = _results(golden, golden.folder / "checkpoint")
    assert {check.status for check in checks.values()} == {OK}, checks
    assert "openpi (PyTorch)" in checks["files"].text
    preflight(golden.folder / "checkpoint", golden.config, TOKENIZER)


@pytest.mark.parametrize(
    ("name", "prompt"),
    [("pi0-droid-tiny", "put the cube in the bowl"), ("pi0-libero-tiny", "pick up the milk and place it")],
)
def test_bundled_policies_are_asked_what_they_were_trained_on(name, prompt):
    folder = BUNDLED / name
    given = examine(folder, find_config(folder), prompt=trained_prompt(folder))
    checks = {check.name: check for check in given}
    assert {check.status for check in checks.values()} == {OK}, checks
    assert prompt in checks["prompt"].text


def test_a_prompt_that_is_cut_off_is_a_warning(tmp_path):
    folder = shutil.copytree(BUNDLED / "pi0-droid-tiny", tmp_path / "policy")
    (folder / "trained_on.toml").unlink()
    checks = {check.name: check for check in examine(folder, find_config(folder))}
    assert checks["prompt"].status == WARNING
    assert "55 of 16 slots" in checks["prompt"].text


def test_jax_passes_too():
    pytest.importorskip("tensorstore")
    case = load_golden("openpi_jax", "pi0_libero")
    checks = _results(case, case.folder / "checkpoint")
    assert {check.status for check in checks.values()} == {OK}, checks
    assert "JAX" in checks["files"].text


BROKEN = {
    "truncated": (
        lambda folder: (folder / "model.safetensors").write_bytes(
            (folder / "model.safetensors").read_bytes()[:-9]
        ),
        "weights",
        "truncated",
    ),
    "pickle": (
        lambda folder: (folder / "model.safetensors").write_bytes(b"\x80\x04."),
        "weights",
        "is a pickle",
    ),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "files", "no weights"),
    "a parameter missing": (
        lambda folder: _edit_weights(folder, lambda state: state.pop("time_mlp_in.bias")),
        "weights",
        "missing time_mlp_in.bias",
    ),
    "no statistics": (
        lambda folder: shutil.rmtree(folder / "assets"),
        "statistics",
        "no normalisation statistics at",
    ),
    "another robot's name": (
        lambda folder: (folder / "assets" / "droid").rename(folder / "assets" / "trossen"),
        "statistics",
        "but of trossen",
    ),
    "another robot's length": (
        lambda folder: _edit_stats(
            folder, lambda of: of.update(state={key: values[:7] for key, values in of["state"].items()})
        ),
        "statistics",
        "have 7 numbers, the robot 8",
    ),
    "a negative range": (
        lambda folder: _edit_stats(folder, lambda of: of["state"].update(q99=[-99.0] * 8)),
        "statistics",
        "negative range",
    ),
    "both formats": (
        lambda folder: [(folder / "params").mkdir(), (folder / "params" / "_METADATA").write_text("{}")],
        "files",
        "holds weights twice",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_fails_and_what_needs_it_is_skipped(name, sound):
    case, folder = sound
    change, check, message = BROKEN[name]
    change(folder)
    results = _results(case, folder)
    assert results[check].status == FAILED
    assert message in results[check].text
    assert "\n" not in results[check].text
    assert [other.name for other in results.values() if other.status == FAILED] == [check]
    assert results["load"].status == results["inference"].status == SKIPPED
    with pytest.raises(UserError) as caught:
        load_policy(checkpoint=folder, config_file=case.folder / "meta.json", tokenizer=TOKENIZER)
    assert str(caught.value) == results[check].text


def test_nan_is_found_when_weights_are_read(sound):
    case, folder = sound
    _edit_weights(folder, lambda state: state["action_in_proj.bias"].__setitem__(0, torch.nan))
    results = _results(case, folder)
    assert results["load"].status == FAILED
    assert "NaN or infinity: action_in_proj.bias" in results["load"].text
    assert results["inference"].status == SKIPPED


def test_the_other_model(sound):
    _, folder = sound
    other = load_golden("openpi_pytorch", "pi0_droid")
    results = _results(other, folder)
    assert results["weights"].status == FAILED
    assert "those of π0.5, the configuration is of π0" in results["weights"].text


def test_tokenizers(sound, monkeypatch, tmp_path, tokenizer):
    case, folder = sound
    monkeypatch.setenv("OPENPI_DATA_HOME", str(tmp_path))
    missing = _results(case, folder, tokenizer=None)
    assert missing["tokenizer"].status == FAILED
    assert "--tokenizer FILE" in missing["tokenizer"].text
    assert missing["prompt"].status == SKIPPED
    assert missing["statistics"].status == OK


def test_warnings_do_not_stop_a_load(sound):
    case, folder = sound
    _edit_stats(folder, lambda of: of["actions"].update(q01=[0.0] * 8, q99=[0.0] * 8))
    results = _results(case, folder)
    assert results["statistics"].status == WARNING
    assert "never moved in training: actions 0, actions 1" in results["statistics"].text
    preflight(folder, case.config, TOKENIZER)


def test_too_little_memory_is_refused_before_reading(sound, monkeypatch):
    case, folder = sound
    monkeypatch.setattr("headless_eval.policies.preflight.memory_free", lambda device: 1000)
    assert "1 kB free on cpu" in _results(case, folder)["memory"].text
    with pytest.raises(UserError, match="free some, or choose another"):
        preflight(folder, case.config, TOKENIZER)


def test_memory_free_is_less_than_there_is():
    assert 10_000_000 < memory_free(torch.device("cpu")) < 2**50


def test_the_fixed_observation_holds_what_the_robot_sends(golden):
    policy = golden.policy()
    obs = fixed_observation(golden.config, policy.norm_stats["state"])
    assert set(obs) == set(golden.observations[0])
    again = fixed_observation(golden.config, policy.norm_stats["state"])
    assert all(np.array_equal(value, again[key]) for key, value in obs.items())
    np.testing.assert_array_equal(policy.prepare(obs).observed_state, policy.norm_stats["state"].mean[:8])


def test_command(sound, capsys):
    case, folder = sound
    flags = ["--checkpoint", str(folder), "--config-file", str(case.folder / "meta.json")]
    flags += ["--tokenizer", str(TOKENIZER)]
    assert main(["doctor", *flags]) == 0
    out = capsys.readouterr().out
    assert "can be evaluated" in out
    assert "…" not in out
    (folder / "model.safetensors").unlink()
    assert main(["doctor", *flags]) == 2
    out = capsys.readouterr().out
    assert "FAILED" in out
    assert "1 of 10 checks failed" in out
    assert main(["doctor", "--checkpoint", "nowhere", "--config", "pi0_droid"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_checkpoint_is_opened_once(sound, monkeypatch):
    """Weights' headers, statistics and tokenizer: what the preflight has opened is what the policy is made from."""
    case, folder = sound
    opened = []
    for of, name in (
        (policy, "find_norm_stats"),
        (preflight_module, "open_weights"),
        (Tokenizer, "__init__"),
    ):
        whole = getattr(of, name)

        def counted(*given, whole=whole, name=name):
            opened.append(name)
            return whole(*given)

        for module in (of, *((preflight_module, policy) if of is not Tokenizer else ())):
            monkeypatch.setattr(module, name, counted)
    with load_policy(checkpoint=folder, config_file=case.folder / "meta.json", tokenizer=TOKENIZER):
        assert sorted(opened) == ["__init__", "find_norm_stats", "open_weights"]


def test_what_a_file_says_of_another_family_is_not_this_ones(tmp_path):
    (tmp_path / "config.toml").write_text('family = "other"')
    with pytest.raises(UserError, match="has no configuration"):
        find_config(tmp_path)
