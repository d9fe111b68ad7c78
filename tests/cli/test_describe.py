"""``describe``: a PaliGemma writes about a picture."""

import shutil

import numpy as np
import pytest
from paths import GOLDEN
from PIL import Image

from headless_eval.cli.main import main

FOLDER = GOLDEN / "paligemma_text"


@pytest.fixture
def picture(tmp_path):
    if not FOLDER.is_dir():
        pytest.skip(f"no golden data at {FOLDER}")
    path = tmp_path / "picture.png"
    with np.load(FOLDER / "inputs.npz") as inputs:
        Image.fromarray(inputs["images_uint8"][0].transpose(1, 2, 0)).save(path)
    return path


def _describe(picture, *words):
    files = [
        "--checkpoint",
        str(FOLDER),
        "--tokenizer",
        str(GOLDEN / "tokenizer.model"),
        "--image",
        str(picture),
    ]
    return main(["describe", *files, "--prompt", "caption en", "--tokens", "8", *words])


def test_one_precision_prints_the_text_alone(picture, capsys):
    assert _describe(picture) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_several_precisions_are_compared(picture, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert _describe(picture, "--dtypes", "float32", "int8", "rtn_w4a8", "smoothquant_w8a8") == 0
    said = capsys.readouterr().out
    assert "8 of 8" in said
    assert all(name in said for name in ("float32", "int8_weights_only", "rtn_w4a8", "smoothquant_w8a8"))


def test_what_cannot_be_described(picture, tmp_path, capsys):
    shutil.copy(FOLDER / "config.json", tmp_path)
    for words, said in (
        (["--image", str(tmp_path / "none.png")], "no picture at"),
        (["--image", str(tmp_path / "config.json")], "cannot be read as a picture"),
        (["--checkpoint", str(tmp_path)], "no weights in"),
        (["--checkpoint", str(tmp_path / "none")], "no checkpoint at"),
        (["--dtypes", "int5"], "int5"),
    ):
        assert _describe(picture, *words) == 2
        error = capsys.readouterr().err
        assert said in error
        assert len(error.splitlines()) == 1


def test_a_policy_that_cannot_write_any_more(picture, capsys):
    from headless_eval.policies.registry import BUNDLED

    if not (BUNDLED / "pi0-droid-tiny").is_dir():
        pytest.skip("the policy is not bundled here")
    assert _describe(picture, "--checkpoint", str(BUNDLED / "pi0-droid-tiny")) == 2
    assert "no language model that could write" in capsys.readouterr().err
