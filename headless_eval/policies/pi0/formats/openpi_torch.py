"""Weights on disk: openpi's JAX arrays, or openpi's PyTorch names in safetensors, in one file or several.

LeRobot's files have the same PyTorch names after ``model.``.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from headless_eval.checkpoints.safetensors_file import SHARD_BYTES, SafetensorsFile, find_weights, save_shards
from headless_eval.checkpoints.stored import Stored, parameters
from headless_eval.errors import UserError
from headless_eval.policies.pi0.config import Pi0Config
from headless_eval.policies.pi0.formats.lerobot import is_lerobot
from headless_eval.policies.pi0.formats.names import PALIGEMMA, from_openpi, to_openpi
from headless_eval.policies.pi0.formats.openpi_jax import find_params, stored_parameters, to_jax
from headless_eval.policies.pi0.model import Pi0
from headless_eval.policies.pi0.weights import build_model

# Output heads of language models; PaliGemma's is its token embedding, which some files hold under this name only.
_TIED_HEAD = f"{PALIGEMMA}lm_head.weight"
_EXPERT_HEAD = "paligemma_with_expert.gemma_expert.lm_head.weight"
_EMBED_TOKENS = "language.embed_tokens.weight"


def is_unread(name: str, config: Pi0Config) -> bool:
    """Say whether openpi keeps this parameter (by our name) although its value has no influence on actions.

    The prefix is read for its keys and values only, so the rest of its last layer and its final norm compute
    nothing that is used; neither do the output heads.
    """
    last = f"language.layers.{config.gemma.depth - 1}."
    if name.startswith(last):
        return not name.startswith(
            (f"{last}input_layernorm.", f"{last}self_attn.k_proj.", f"{last}self_attn.v_proj.")
        )
    return name in (_TIED_HEAD, _EXPERT_HEAD, "language.norm.weight")


def load_model(config: Pi0Config, directory: Path, device: torch.device, dtype: torch.dtype) -> Pi0:
    """Read a model from a checkpoint, tensor by tensor, directly to its device and type.

    Parameters that openpi keeps but nothing uses are passed over.

    Raises:
        UserError: see ``open_weights`` and ``build_model``.
    """
    stored = open_weights(directory, config)
    return build_model(config, stored, directory, device, dtype, their_name(directory))


def their_name(directory: Path) -> Callable[[str], str]:
    """Return the function from our names of parameters to those of a checkpoint's format."""
    return to_openpi if find_params(directory) is None else to_jax


def describe_format(directory: Path) -> tuple[str, list[Path]]:
    """Return the format and the files of a checkpoint's weights.

    Raises:
        UserError: see ``open_weights``.
    """
    params = _find_params(directory)
    if params is not None:
        return "openpi (JAX)", [path for path in params.rglob("*") if path.is_file()]
    files = find_weights(directory)
    if is_lerobot(directory):
        return "LeRobot", files
    # What ``convert`` writes for openpi has our configuration, too, beside openpi's own.
    ours = (directory / "config.toml").is_file() and not (directory / "config.json").is_file()
    return ("headless-eval" if ours else "openpi (PyTorch)"), files


def _find_params(directory: Path) -> Path | None:
    params = find_params(directory)
    if params is not None and any(directory.glob("model*.safetensors")):
        raise UserError(
            f"{directory} holds weights twice, in {params.name}/ (JAX) and in safetensors (PyTorch): "
            "move one of them elsewhere"
        )
    return params


def open_weights(directory: Path, config: Pi0Config) -> dict[str, Stored]:
    """Return by our names what a checkpoint's weights hold that is read, whatever their format.

    Raises:
        UserError: a file is missing, truncated or of another kind; there are weights in two formats.
    """
    stored = _open_all(directory)
    return {name: of for name, of in stored.items() if not is_unread(name, config)}


def _open_all(directory: Path) -> dict[str, Stored]:
    params = _find_params(directory)
    if params is not None:
        return stored_parameters(params)
    stored: dict[str, Stored] = {}
    for file in map(SafetensorsFile, find_weights(directory)):
        for name, shape in file.shapes.items():
            stored[from_openpi(name)] = Stored(name, shape, file.source(name))
    if _EMBED_TOKENS not in stored and _TIED_HEAD in stored:
        stored[_EMBED_TOKENS] = stored[_TIED_HEAD]
    return stored


def openpi_extras(
    directory: Path, config: Pi0Config, dtype: torch.dtype
) -> tuple[dict[str, Tensor], list[str]]:
    """Return, by openpi's PyTorch names, the parameters of its model that ours does without.

    Args:
        directory: the checkpoint to take them from.
        config: the model's sizes.
        dtype: what they become.

    Returns:
        the tensors, and the names of those that the checkpoint does not hold, which are zeros.
    """
    shapes = _unread_shapes(config)
    stored = _open_all(directory)
    wanted = {
        theirs: of
        for theirs, of in ((to_openpi(name), of) for name, of in stored.items())
        if theirs in shapes and of.shape == shapes[theirs]
    }
    wanted.setdefault(_TIED_HEAD, stored[_EMBED_TOKENS])
    read = parameters(wanted, torch.device("cpu"), dtype)
    found = {name: value.contiguous() for name, value in read}
    made = [name for name in shapes if name not in found]
    return found | {name: torch.zeros(shapes[name], dtype=dtype) for name in made}, made


def _unread_shapes(config: Pi0Config) -> dict[str, tuple[int, ...]]:
    gemma, expert = config.gemma, config.expert
    layer = to_openpi(f"language.layers.{gemma.depth - 1}.")
    attention = gemma.num_heads * gemma.head_dim
    return {
        _TIED_HEAD: (config.vocab_size, gemma.width),
        _EXPERT_HEAD: (config.vocab_size, expert.width),
        to_openpi("language.norm.weight"): (gemma.width,),
        f"{layer}self_attn.q_proj.weight": (attention, gemma.width),
        f"{layer}self_attn.o_proj.weight": (gemma.width, attention),
        f"{layer}post_attention_layernorm.weight": (gemma.width,),
        f"{layer}mlp.gate_proj.weight": (gemma.mlp_dim, gemma.width),
        f"{layer}mlp.up_proj.weight": (gemma.mlp_dim, gemma.width),
        f"{layer}mlp.down_proj.weight": (gemma.width, gemma.mlp_dim),
    }


def save_weights(directory: Path, state: Mapping[str, Tensor], shard_bytes: int = SHARD_BYTES) -> list[Path]:
    """Write parameters (by our names) under openpi's names; see ``save_shards``."""
    return save_shards(directory, {to_openpi(name): tensor for name, tensor in state.items()}, shard_bytes)
