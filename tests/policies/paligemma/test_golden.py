"""Against what transformers computed, in float32 on a CPU."""

import json
import shutil
from itertools import islice

import numpy as np
import pytest
import torch
from paths import GOLDEN
from safetensors.torch import load_file, save_file

from headless_eval.errors import UserError
from headless_eval.policies.paligemma.formats import is_paligemma, load_paligemma, open_folder, read_sizes
from headless_eval.policies.paligemma.model import PaliGemma
from headless_eval.quant import quantize_
from headless_eval.quant.precision import Precision

FOLDER = GOLDEN / "paligemma_text"
TOLERANCE = 1e-5


@pytest.fixture(autouse=True)
def _needs_golden():
    if not FOLDER.is_dir():
        pytest.skip(f"no golden data at {FOLDER}")


@pytest.fixture
def theirs() -> dict[str, torch.Tensor]:
    with np.load(FOLDER / "inputs.npz") as inputs, np.load(FOLDER / "outputs.npz") as outputs:
        return {name: torch.from_numpy(value) for name, value in [*inputs.items(), *outputs.items()]}


def load(folder=FOLDER) -> PaliGemma:
    stored = open_folder(folder)
    return load_paligemma(stored, read_sizes(folder, stored), folder, torch.device("cpu"), torch.float32)


def _inputs(theirs):
    return theirs["images_uint8"].float() / 255 * 2 - 1, theirs["input_ids"][:, 16:]


def _error(ours, theirs):
    return float((ours - theirs).abs().max() / theirs.abs().max())


@torch.inference_mode()
def test_logits_of_the_prompt(theirs):
    model = load()
    image, tokens = _inputs(theirs)
    features = model.image_projector(model.vision(image))
    # transformers divides them by the square root of the width, and multiplies all tokens by it later.
    assert _error(features, theirs["image_features"]) < TOLERANCE or (
        _error(features / model.config.gemma.width**0.5, theirs["image_features"]) < TOLERANCE
    )
    x, _ = model.read(model.embed(image, tokens))
    assert _error(model.logits(x), theirs["prompt_logits"]) < TOLERANCE


def _check_generation(model, theirs):
    generated = list(islice(model.generate(*_inputs(theirs)), 12))
    assert [token for token, _ in generated] == theirs["generated_tokens"].tolist()
    assert _error(torch.stack([logits for _, logits in generated]), theirs["generated_logits"][0]) < TOLERANCE


def test_generated_tokens_and_logits(theirs):
    _check_generation(load(), theirs)


@pytest.mark.parametrize("style", ["newer", "in memory", "openpi", "lerobot"])
def test_every_style_of_names(theirs, tmp_path, style):
    def renamed(name: str) -> str:
        name = name.replace("vision_tower.vision_model.", "vision_tower.") if style == "newer" else name
        if style == "newer":
            return name
        name = "model." + name.replace("language_model.model.", "language_model.")
        start = {
            "in memory": "",
            "openpi": "paligemma_with_expert.paligemma.",
            "lerobot": "model.paligemma_with_expert.paligemma.",
        }
        return start[style] + name

    tensors = {renamed(name): value for name, value in load_file(FOLDER / "model.safetensors").items()}
    if style in ("openpi", "lerobot"):  # there the embedding is stored as the head
        (name,) = (name for name in tensors if name.endswith("embed_tokens.weight"))
        start = "model." if style == "lerobot" else ""
        tensors[f"{start}paligemma_with_expert.paligemma.lm_head.weight"] = tensors.pop(name)
    save_file(tensors, tmp_path / "model.safetensors")
    shutil.copy(FOLDER / "config.json", tmp_path)
    assert is_paligemma(tmp_path)
    _check_generation(load(tmp_path), theirs)


def test_a_head_of_its_own(theirs, tmp_path):
    tensors = load_file(FOLDER / "model.safetensors")
    tensors["language_model.lm_head.weight"] = -tensors["language_model.model.embed_tokens.weight"]
    save_file(tensors, tmp_path / "model.safetensors")
    shutil.copy(FOLDER / "config.json", tmp_path)
    _, logits = next(load(tmp_path).generate(*_inputs(theirs)))
    assert _error(-logits, theirs["generated_logits"][0, 0]) < TOLERANCE


def test_weights_that_cannot_write_are_refused(tmp_path):
    tensors = load_file(FOLDER / "model.safetensors")
    save_file(
        {name: value for name, value in tensors.items() if ".norm." not in name},
        tmp_path / "model.safetensors",
    )
    shutil.copy(FOLDER / "config.json", tmp_path)
    with pytest.raises(UserError, match="no language model that could write"):
        load(tmp_path)


def test_sizes_that_are_missing_are_named(tmp_path):
    said = json.loads((FOLDER / "config.json").read_text())
    del said["text_config"]["num_hidden_layers"]
    (tmp_path / "config.json").write_text(json.dumps(said))
    with pytest.raises(UserError, match="'num_hidden_layers' is None"):
        read_sizes(tmp_path, {})


def test_a_quantized_backbone_writes_and_is_restored(theirs):
    model = load()
    for name in ("int8_weights_only", "bfloat16_both", "rtn_w4a8"):
        handle = quantize_(model, Precision.parse(name))
        _, logits = next(model.generate(*_inputs(theirs)))
        assert 1e-6 < _error(logits, theirs["generated_logits"][0, 0]) < 1
        handle.restore()
    _check_generation(model, theirs)
