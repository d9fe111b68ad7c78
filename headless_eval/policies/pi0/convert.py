"""Conversion of checkpoints of any format to headless-eval's format or to openpi's PyTorch files."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from headless_eval.checkpoints.stored import parameters
from headless_eval.errors import UserError
from headless_eval.policies.norm_stats import write_norm_stats
from headless_eval.policies.paligemma.tokenizer import Tokenizer, find_tokenizer
from headless_eval.policies.pi0.checkpoint import find_format, find_norm_stats, load_model
from headless_eval.policies.pi0.config import Pi0Config, PolicyConfig, write_config
from headless_eval.policies.pi0.formats.names import EMBED_TOKENS, EXPERT_HEAD, TIED_HEAD, to_openpi
from headless_eval.policies.pi0.policy import save_checkpoint
from headless_eval.policies.trained_on import read_trained_on, write_trained_on
from headless_eval.shared.files import new_folder

_CPU = torch.device("cpu")
FORMATS = ("headless-eval", "openpi")


def convert(
    source: Path,
    target: Path,
    config: PolicyConfig,
    tokenizer: Path | None = None,
    to: str = "headless-eval",
    dtype: str = "float32",
) -> Iterator[str]:
    """Write a checkpoint in another format, read it back, and compare.

    Args:
        source: folder of openpi (JAX or PyTorch), LeRobot or headless-eval.
        target: folder that is empty or does not exist.
        config: the source's configuration.
        tokenizer: SentencePiece model; by default found as for a policy.
        to: one of ``FORMATS``.
        dtype: type of the written weights.

    Yields:
        lines of text: the work done, and the parameters that the source lacks.

    Raises:
        UserError: the source cannot be read, or the target is not empty.
    """
    if to not in FORMATS:
        raise UserError(f"unknown format {to!r}: there are {', '.join(FORMATS)}")
    as_type: torch.dtype = getattr(torch, dtype)
    with new_folder(target) as folder:
        stats = find_norm_stats(source, config)
        vocabulary = Tokenizer(find_tokenizer(source, tokenizer))
        model = load_model(config.model, source, _CPU, as_type)
        state = model.state_dict()
        written, notes = len(state), list[str]()
        if to == "headless-eval":
            save_checkpoint(folder, model, config, stats, vocabulary)
        else:
            written, notes = _write_openpi(folder, source, config, state, as_type)
            write_norm_stats(folder / "assets" / config.asset_id / "norm_stats.json", stats)
            (folder / "tokenizer.model").write_bytes(vocabulary.model_bytes)
            write_config(folder / "config.toml", config)
        trained_on = read_trained_on(source)
        if trained_on is not None:
            write_trained_on(folder, trained_on)
        again = load_model(config.model, folder, _CPU, as_type).state_dict()
        _check_equal(folder, state, again.__getitem__)
    yield from notes
    yield f"{target}: {written} tensors in {dtype}, read back and equal"


def _write_openpi(
    folder: Path, source: Path, config: PolicyConfig, state: dict[str, Tensor], dtype: torch.dtype
) -> tuple[int, list[str]]:
    """Write one file with all parameters of openpi's PyTorch model; unused parameters are copied from the source.

    Returns:
        the number of written tensors, and the names of parameters that the source lacks.
    """
    extras, made = _openpi_extras(source, config.model, dtype)
    # The head is PaliGemma's token embedding; openpi's files store it once, under the head's name.
    kept = {name: value for name, value in state.items() if name != "language.embed_tokens.weight"}
    tensors = {to_openpi(name): value.detach().contiguous() for name, value in kept.items()} | extras
    file = folder / "model.safetensors"
    save_file(tensors, file, metadata={"format": "pt"})
    with safe_open(file, "pt") as again:
        _check_equal(folder, tensors, again.get_tensor)
    (folder / "config.json").write_text(
        json.dumps(
            {
                "action_dim": config.model.action_dim,
                "action_horizon": config.model.action_horizon,
                "precision": str(dtype).removeprefix("torch."),
            },
            indent=2,
        )
        + "\n",
        encoding="utf-8",
    )
    return len(tensors), [
        f"{source} has no {name}, which no action depends on: written as zeros" for name in made
    ]


def _check_equal(folder: Path, tensors: dict[str, Tensor], read: Callable[[str], Tensor]) -> None:
    changed = next((name for name, value in tensors.items() if not torch.equal(value, read(name))), None)
    if changed is not None:
        raise UserError(f"{folder} does not hold what was written to it ({changed}): is the disk sound?")


def _openpi_extras(
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
    stored = find_format(directory).open(directory)
    wanted = {
        theirs: of
        for theirs, of in ((to_openpi(name), of) for name, of in stored.items())
        if theirs in shapes and of.shape == shapes[theirs]
    }
    wanted.setdefault(TIED_HEAD, stored[EMBED_TOKENS])
    read = parameters(wanted, torch.device("cpu"), dtype)
    found = {name: value.contiguous() for name, value in read}
    made = [name for name in shapes if name not in found]
    return found | {name: torch.zeros(shapes[name], dtype=dtype) for name in made}, made


def _unread_shapes(config: Pi0Config) -> dict[str, tuple[int, ...]]:
    gemma, expert = config.gemma, config.expert
    layer = to_openpi(f"language.layers.{gemma.depth - 1}.")
    attention = gemma.num_heads * gemma.head_dim
    return {
        TIED_HEAD: (config.vocab_size, gemma.width),
        EXPERT_HEAD: (config.vocab_size, expert.width),
        to_openpi("language.norm.weight"): (gemma.width,),
        f"{layer}self_attn.q_proj.weight": (attention, gemma.width),
        f"{layer}self_attn.o_proj.weight": (gemma.width, attention),
        f"{layer}post_attention_layernorm.weight": (gemma.width,),
        f"{layer}mlp.gate_proj.weight": (gemma.mlp_dim, gemma.width),
        f"{layer}mlp.up_proj.weight": (gemma.mlp_dim, gemma.width),
        f"{layer}mlp.down_proj.weight": (gemma.width, gemma.mlp_dim),
    }
