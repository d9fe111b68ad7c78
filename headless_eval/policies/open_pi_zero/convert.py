"""Conversion of open-pi-zero's checkpoints to headless-eval's format."""

from collections.abc import Iterator
from pathlib import Path

import torch

from headless_eval.errors import UserError
from headless_eval.policies.open_pi_zero.config import PolicyConfig
from headless_eval.policies.open_pi_zero.formats import find_norm_stats, load_model
from headless_eval.policies.open_pi_zero.policy import save_checkpoint
from headless_eval.policies.paligemma.tokenizer import Tokenizer, find_tokenizer
from headless_eval.policies.trained_on import read_trained_on, write_trained_on
from headless_eval.shared.files import new_folder

_CPU = torch.device("cpu")


def convert(
    source: Path,
    target: Path,
    config: PolicyConfig,
    tokenizer: Path | None = None,
    to: str = "headless-eval",
    dtype: str = "float32",
) -> Iterator[str]:
    """Write a checkpoint in headless-eval's format, read it back, and compare.

    Args:
        source: a ``.pt`` file, or a folder in headless-eval's format.
        target: folder that is empty or does not exist.
        config: the source's configuration.
        tokenizer: SentencePiece model; by default found as for a policy.
        to: ``headless-eval``.
        dtype: type of the written weights.

    Yields:
        a line of text about the work done.

    Raises:
        UserError: the source cannot be read, the target is not empty, or the format is unknown.
    """
    if to != "headless-eval":
        raise UserError(f"open-pi-zero's checkpoints have no form in the format {to}: leave out --to")
    as_type: torch.dtype = getattr(torch, dtype)
    with new_folder(target) as folder:
        beside = source if source.is_dir() else source.parent
        vocabulary = Tokenizer(find_tokenizer(beside, tokenizer))
        model = load_model(config, source, _CPU, as_type)
        save_checkpoint(folder, model, config, find_norm_stats(source, config), vocabulary)
        trained_on = read_trained_on(source) if source.is_dir() else None
        if trained_on is not None:
            write_trained_on(folder, trained_on)
        again = load_model(config, folder, _CPU, as_type).state_dict()
        for name, value in model.state_dict().items():
            if not torch.equal(value, again[name]):
                raise UserError(f"{folder} does not hold what was written to it ({name}): is the disk sound?")
    yield f"{target}: {len(again)} tensors in {dtype}, read back and equal"
