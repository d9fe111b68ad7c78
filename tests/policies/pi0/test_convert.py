"""Conversions: every format into ours and back gives the same policy, to the bit."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
from lerobot_cases import write_lerobot
from pi0_cases import GOLDEN, load_golden
from safetensors.torch import load_file

from headless_eval import load_policy
from headless_eval.cli.main import main
from headless_eval.errors import UserError
from headless_eval.policies.pi0.checkpoint import describe_format
from headless_eval.policies.pi0.convert import FORMATS, convert
from headless_eval.policies.pi0.policy import Pi0Policy
from headless_eval.policies.trained_on import TrainedOn, read_trained_on, write_trained_on

TOKENIZER = GOLDEN / "tokenizer.model"


def _actions(case, folder, **settings):
    with load_policy(checkpoint=folder, **settings) as policy:
        replies = policy.infer_batch(case.observations, case.stacked("noise"))
    return np.stack([reply["actions"] for reply in replies])


def _reference(case, folder):
    return _actions(case, folder, config_file=case.folder / "meta.json", tokenizer=TOKENIZER)


@pytest.mark.parametrize("kind", ["openpi_jax", "openpi_pytorch", "lerobot"])
@pytest.mark.parametrize("name", ["pi0_droid", "pi05_libero"])
def test_any_format_into_ours_and_on_to_openpis(kind, name, tmp_path):
    if kind == "openpi_jax":
        pytest.importorskip("tensorstore")
    case = load_golden("openpi_pytorch" if kind == "lerobot" else kind, name)
    source = case.folder / "checkpoint"
    if kind == "lerobot":
        source = write_lerobot(case, tmp_path / "lerobot")
    expected = _reference(case, source)
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    *notes, _ = convert(source, ours, case.config, TOKENIZER)
    assert notes == []
    write_trained_on(ours, TrainedOn("droid", ("scene1",)))
    # Whole in itself: no configuration, no tokenizer named.
    np.testing.assert_array_equal(_actions(case, ours), expected)
    assert describe_format(ours)[0] == "headless-eval"
    *notes, last = convert(ours, theirs, case.config, None, "openpi")
    assert len(notes) == 8
    assert describe_format(theirs)[0] == "openpi (PyTorch)"
    assert f": {len(load_file(theirs / 'model.safetensors'))} tensors in float32" in last
    assert read_trained_on(theirs) == TrainedOn("droid", ("scene1",))
    assert "written as zeros" in notes[0]
    np.testing.assert_array_equal(_reference(case, theirs), expected)


def test_openpis_file_is_complete_and_copied_where_the_source_has_it(golden, tmp_path):
    source = golden.folder / "checkpoint"
    *notes, _ = convert(source, tmp_path / "out", golden.config, TOKENIZER, "openpi")
    assert notes == []
    before, after = load_file(source / "model.safetensors"), load_file(tmp_path / "out" / "model.safetensors")
    wanted = json.loads((golden.folder / "state_dict.json").read_text())
    assert {name: list(value.shape) for name, value in after.items()} == wanted
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_from_jax_only_the_experts_head_is_unknown(tmp_path):
    pytest.importorskip("tensorstore")
    case = load_golden("openpi_jax", "pi05_droid")
    *notes, _ = convert(case.folder / "checkpoint", tmp_path / "out", case.config, TOKENIZER, "openpi")
    assert len(notes) == 1
    assert "gemma_expert.lm_head.weight" in notes[0]
    written = load_file(tmp_path / "out" / "model.safetensors")
    wanted = json.loads((load_golden("openpi_pytorch", "pi05_droid").folder / "state_dict.json").read_text())
    # Of the towers' layers, which are of other numbers in that case, it is the names that count.
    layer = re.compile(r"(?<=layers\.)\d+")
    assert {layer.sub("", name) for name in written} == {layer.sub("", name) for name in wanted}


def test_other_types(golden, tmp_path):
    *_, last = convert(
        golden.folder / "checkpoint", tmp_path / "half", golden.config, TOKENIZER, dtype="bfloat16"
    )
    assert "in bfloat16" in last
    halved = load_file(tmp_path / "half" / "model.safetensors")
    assert {value.dtype for value in halved.values()} == {torch.bfloat16}
    Pi0Policy.from_checkpoint(tmp_path / "half", golden.config)


@pytest.mark.parametrize("to", FORMATS)
def test_a_checkpoint_cannot_choose_where_it_is_written(untrained_policy, tmp_path, to, capsys):
    """``asset_id`` is a name in the checkpoint's own folder, or the checkpoint is refused."""
    source = shutil.copytree(untrained_policy, tmp_path / "source")
    config = source / "config.toml"
    for place in (f"{tmp_path}/planted", "../../planted"):
        text = re.sub('asset_id = ".*"', f'asset_id = "{place}"', config.read_text())
        config.write_text(text)
        assert main(["convert", str(source), str(tmp_path / "target"), "--to", to]) == 2
        assert "asset_id is the name of a folder in assets/" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_targets_are_never_overwritten(golden, tmp_path):
    (tmp_path / "mine").write_text("kept")
    for target in (tmp_path, tmp_path / "mine"):
        with pytest.raises(UserError, match="is there already"):
            list(convert(golden.folder / "checkpoint", target, golden.config, TOKENIZER))
    assert (tmp_path / "mine").read_text() == "kept"


def test_a_failure_leaves_nothing_behind(golden, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("headless_eval.policies.pi0.convert.save_checkpoint", fail)
    with pytest.raises(UserError, match="No space left"):
        list(convert(golden.folder / "checkpoint", tmp_path / "out", golden.config, TOKENIZER))
    assert list(tmp_path.iterdir()) == []


def test_command(golden, tmp_path, capsys):
    flags = [str(golden.folder / "checkpoint"), str(tmp_path / "out")]
    flags += ["--config-file", str(golden.folder / "meta.json"), "--tokenizer", str(TOKENIZER)]
    assert main(["convert", *flags]) == 0
    assert "read back and equal" in capsys.readouterr().out
    assert main(["convert", *flags]) == 2
    assert "is there already" in capsys.readouterr().err
