"""The tokenizer of a policy that is trained, made from the sentences that ask for its tasks."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from headless_eval.policies.paligemma.tokenizer import Tokenizer, train_tokenizer
from headless_eval.training.recipes import Config


def instruction_tokens(
    config: Config, sentences: Sequence[Sequence[str]], path: Path
) -> tuple[Tokenizer, Tensor]:
    """Train a tokenizer on sentences, write it to ``path``, and apply it to them.

    Args:
        config: whose tokenizer it is.
        sentences: by instruction, equally many sentences that mean the same.
        path: the tokenizer's file.

    Returns:
        The tokenizer; and int64 (instructions, sentences, slots, 2): each slot's token, and 1 if the slot is used,
        else 0.
    """
    train_tokenizer([sentence for same in sentences for sentence in same], path, config.model.vocab_size)
    tokenizer = Tokenizer(path)
    slots = config.model.max_token_len
    tokens = [
        [
            np.stack(tokenizer.slots(sentence, None, slots), axis=-1, dtype=np.int64, casting="unsafe")
            for sentence in same
        ]
        for same in sentences
    ]
    return tokenizer, torch.from_numpy(np.array(tokens))
