"""open-pi-zero's checkpoints into folders of ours."""

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
    """Write a checkpoint as a folder of ours, read it back, and compare.

    Args:
        source: a ``.pt`` file, or a folder of ours.
        target: folder that is empty or not there yet.
        config: what the source holds.
        tokenizer: SentencePiece model; by default as a policy finds it.
        to: ``headless-eval``.
        dtype: what the weights are written in.

    Yields:
        a line that says what was done.

    Raises:
        UserError: the source cannot be read, the target holds something, or the format is another one.
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
