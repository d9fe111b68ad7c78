"""Weight files of PaliGemma: Hugging Face's folders, and its parts in π0's PyTorch checkpoints."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from headless_eval.checkpoints.safetensors_file import SafetensorsFile, find_weights
from headless_eval.checkpoints.stored import Stored, read_into
from headless_eval.errors import UserError
from headless_eval.policies.paligemma.config import GemmaConfig, SiglipConfig
from headless_eval.policies.paligemma.model import PaliGemma, PaliGemmaConfig
from headless_eval.shared.untrusted import convert, read_json

HEAD, EMBEDDING = "lm_head.weight", "language.embed_tokens.weight"

# What stands before the names, and how versions of transformers, openpi and LeRobot differ in the rest.
_PREFIX = re.compile(r"^(model\.)?(paligemma_with_expert\.paligemma\.)?(model\.)?")
_NAMES = (
    (re.compile(r"^vision_tower\.(vision_model\.)?embeddings\."), "vision."),
    (re.compile(r"^vision_tower\.(vision_model\.)?encoder\."), "vision."),
    (re.compile(r"^vision_tower\.(vision_model\.)?"), "vision."),
    (re.compile(r"^multi_modal_projector\.linear\."), "image_projector."),
    (re.compile(r"^language_model\.lm_head\."), "lm_head."),
    (re.compile(r"^language_model\.(model\.)?"), "language."),
)
# Where a file says nothing, PaliGemma's classes have these.
_TEXT = {"head_dim": 256, "vocab_size": 257_216}
_VISION = {"patch_size": 14, "image_size": 224}
# Our names of sizes, and those of the file.
_LAYERS = {
    "width": "hidden_size",
    "depth": "num_hidden_layers",
    "mlp_dim": "intermediate_size",
    "num_heads": "num_attention_heads",
}
_GEMMA = _LAYERS | {"num_kv_heads": "num_key_value_heads", "head_dim": "head_dim"}
_SIGLIP = _LAYERS | {"patch_size": "patch_size", "image_size": "image_size"}


def to_ours(name: str) -> str:
    """Return our name of a parameter for that of any of these files."""
    name = _PREFIX.sub("", name)
    for theirs, ours in _NAMES:
        if theirs.match(name):
            return theirs.sub(ours, name)
    return name


def is_paligemma(folder: Path) -> bool:
    """Return whether a folder's ``config.json`` says that it holds a PaliGemma."""
    try:
        said = read_json(folder / "config.json")
    except (OSError, ValueError):
        return False
    return isinstance(said, dict) and said.get("model_type") == "paligemma"


def open_folder(folder: Path) -> dict[str, Stored]:
    """Return a PaliGemma's stored parameters in a folder's safetensors files, by the model's own names.

    Raises:
        UserError: the folder has no safetensors file, or a file is truncated or of another kind.
    """
    stored = {
        to_ours(name): Stored(name, shape, file.source(name))
        for file in map(SafetensorsFile, find_weights(folder))
        for name, shape in file.shapes.items()
    }
    parts = ("vision.", "image_projector.", "language.", "lm_head.")
    return {name: of for name, of in stored.items() if name.startswith(parts)}


def read_sizes(folder: Path, stored: Mapping[str, Stored]) -> PaliGemmaConfig:
    """Return the sizes in a folder's ``config.json``.

    Raises:
        UserError: a size is missing, is not a whole number above 0, or is larger than that of any such model.
    """
    path = folder / "config.json"
    said = read_json(path)
    stated = [said.get(name, {}) for name in ("text_config", "vision_config")]
    if not all(isinstance(one, dict) for one in stated):
        raise UserError(f"{path}: 'text_config' and 'vision_config' have to be tables")
    text, vision = _TEXT | stated[0], _VISION | stated[1]

    def size(table: Mapping[str, Any], name: str) -> int:
        value = table.get(name)
        if type(value) is not int or value < 1:
            raise UserError(f"{path} says {name!r} is {value!r}: it has to be a whole number above 0")
        return value

    def sizes(table: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, int]:
        return {ours: size(table, theirs) for ours, theirs in names.items()}

    try:
        gemma, siglip = GemmaConfig(**sizes(text, _GEMMA)), SiglipConfig(**sizes(vision, _SIGLIP))
        rope = text | convert(text.get("rope_parameters") or {}, dict[str, Any])
        theta = convert(rope.get("rope_theta") or 10_000.0, float)
        return sized(gemma, siglip, stored, theta, size(text, "vocab_size"))
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None


def sized(
    gemma: GemmaConfig,
    siglip: SiglipConfig,
    stored: Mapping[str, Stored],
    rope_theta: float = 10_000.0,
    vocab_size: int | None = None,
) -> PaliGemmaConfig:
    """Return a PaliGemma of these sizes; the vocabulary's is that of the weights, where they hold one."""
    one = stored.get(EMBEDDING) or stored.get(HEAD)
    rows = one.shape[0] if one is not None else vocab_size or _TEXT["vocab_size"]
    return PaliGemmaConfig(
        gemma, siglip, rows, tied=not {EMBEDDING, HEAD} <= {*stored}, rope_theta=rope_theta
    )


def load_paligemma(
    stored: Mapping[str, Stored],
    config: PaliGemmaConfig,
    where: Path,
    device: torch.device,
    dtype: torch.dtype,
) -> PaliGemma:
    """Read a PaliGemma from stored parameters by our names.

    Raises:
        UserError: the weights of the last layer or the norm before the head are missing, as in a checkpoint that
            cannot write text any more; or parameters are missing, unexpected, of the wrong shape or not finite.
    """
    last = f"language.layers.{config.gemma.depth - 1}."
    needed = ("language.norm.weight", f"{last}self_attn.q_proj.weight", f"{last}mlp.up_proj.weight")
    if any(name not in stored for name in needed):
        raise UserError(
            f"{where} holds no language model that could write: its last layer, final norm or head is missing, which "
            "no action depends on; name a PaliGemma folder, or a checkpoint that still has them"
        )
    found = dict(stored)
    if config.tied and EMBEDDING not in found and HEAD in found:
        found[EMBEDDING] = found.pop(HEAD)  # one matrix, which some files hold under the head's name only
    with torch.device("meta"):
        model = PaliGemma(config)
    read_into(model, found, where, device, dtype, lambda name: name)
    return model
