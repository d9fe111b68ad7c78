"""The tokenizer of a policy that is trained, made from its tasks' instructions."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from headless_eval.policies.paligemma.tokenizer import Tokenizer, train_tokenizer
from headless_eval.training.recipes import Config


def instruction_tokens(config: Config, instructions: Sequence[str], path: Path) -> tuple[Tokenizer, Tensor]:
    """Train a tokenizer on the instructions, write it to ``path``, and apply it to them.

    Returns:
        The tokenizer; and int64 (instructions, slots, 2): each slot's token, and 1 if the slot is used, else 0.
    """
    train_tokenizer(instructions, path, config.model.vocab_size)
    tokenizer = Tokenizer(path)
    slots = config.model.max_token_len
    pairs = [tokenizer.slots(instruction, None, slots) for instruction in instructions]
    return tokenizer, torch.from_numpy(np.stack([np.stack(pair, axis=-1).astype(np.int64) for pair in pairs]))
