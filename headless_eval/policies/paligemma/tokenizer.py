"""Tokenizer of prompts with SentencePiece, in the forms of π0 and π0.5."""

import io
import logging
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

import numpy as np
import sentencepiece

from headless_eval.checkpoints.locate import openpi_cache
from headless_eval.errors import UserError
from headless_eval.shared.files import replacing

TOKENIZER_FILE = "tokenizer.model"

_log = logging.getLogger(__name__)

_SLOTS = 8
_STATE_BINS = np.linspace(-1, 1, 257)[:-1]


class Tokenizer:
    """A SentencePiece model such as PaliGemma's, read from a file.

    Raises:
        UserError: the file is missing, is not a SentencePiece model, or has no token for the beginning of a text.
    """

    def __init__(self, path: Path):
        self.path = path
        self._cut: set[str] = set()  # prompts that were too long, each reported once
        try:
            self.model_bytes = path.read_bytes()
            self._pieces = sentencepiece.SentencePieceProcessor(model_proto=self.model_bytes)
        except FileNotFoundError:
            raise UserError(f"no tokenizer at {path}: name a SentencePiece model") from None
        except OSError as error:
            raise UserError(f"cannot read the tokenizer {path}: {error}") from None
        except (RuntimeError, ValueError):  # ValueError: its message about the fault is not UTF-8
            raise UserError(f"{path} is no SentencePiece model, or a truncated one") from None
        if self._pieces.bos_id() < 0:
            raise UserError(
                f"the tokenizer {path} has no token for the beginning of a text: it does not fit π0"
            )

    def __len__(self) -> int:
        return self._pieces.vocab_size()

    def decode(self, tokens: list[int]) -> str:
        """Return the text of tokens; one that the tokenizer does not know, but the model does, becomes ``<number>``."""
        runs = groupby(tokens, key=lambda token: token < len(self))
        return "".join(
            self._pieces.decode(list(run)) if known else "".join(f"<{token}>" for token in run)
            for known, run in runs
        )

    @property
    def end(self) -> int:
        """Return the token that ends a text."""
        return int(self._pieces.eos_id())

    def prompt_tokens(self, prompt: str, state: np.ndarray | None = None) -> list[int]:
        """Return the tokens of a prompt.

        Args:
            prompt: the instruction; underscores and line breaks count as spaces.
            state: normalised state (dims,), which π0.5 reads as text, each number as one of 256 bins over
                [-1, 1]. None for π0's form, which ends in a line break instead.
        """
        cleaned = prompt.strip().replace("_", " ").replace("\n", " ")
        if state is None:
            return self._pieces.encode(cleaned, add_bos=True) + self._pieces.encode("\n")
        digits = " ".join(str(bin) for bin in np.digitize(state, _STATE_BINS) - 1)
        return self._pieces.encode(f"Task: {cleaned}, State: {digits};\nAction: ", add_bos=True)

    def instruction_tokens(self, prompt: str) -> list[int]:
        """Return the tokens of an instruction as PaliGemma's processor makes them, with a line break at its end."""
        return self._pieces.encode(f"{prompt}\n", add_bos=True)

    def slots(self, prompt: str, state: np.ndarray | None, slots: int) -> tuple[np.ndarray, np.ndarray]:
        """Return ``prompt_tokens`` padded to a length; see ``fill_slots``."""
        return self.fill_slots(prompt, self.prompt_tokens(prompt, state), slots)

    def fill_slots(self, prompt: str, found: list[int], slots: int) -> tuple[np.ndarray, np.ndarray]:
        """Return a prompt's tokens padded to a length: int64 (slots,), and the mask of tokens, bool (slots,).

        Longer prompts are cut off, as in openpi, with one warning per prompt.
        """
        if len(found) > slots:
            if prompt not in self._cut:
                self._cut.add(prompt)
                _log.warning(
                    "the prompt %r needs %d token slots, the model has %d: cut off", prompt, len(found), slots
                )
            found = found[:slots]
        tokens = np.zeros(slots, np.int64)
        tokens[: len(found)] = found
        return tokens, np.arange(slots) < len(found)


def slots_for(used: int, there: int) -> int:
    """Return the padded length that the model computes for a prompt of this many tokens.

    Rounded up, so that prompts of similar length share a batch and its shapes; masked padding costs little.
    """
    return min(there, -(-used // _SLOTS) * _SLOTS)


def find_tokenizer(directory: Path, given: Path | str | None = None) -> Path:
    """Return the tokenizer's file: the given file, the folder's, or PaliGemma's in openpi's cache.

    Raises:
        UserError: no tokenizer is found.
    """
    if given is not None:
        return Path(given)
    beside = directory / TOKENIZER_FILE
    if beside.is_file():
        return beside
    cached = openpi_cache() / "big_vision" / "paligemma_tokenizer.model"
    if cached.is_file():
        return cached
    raise UserError(
        f"no tokenizer: neither {beside} nor {cached} is there; name a SentencePiece model (--tokenizer FILE)"
    )


def train_tokenizer(sentences: Iterable[str], path: Path, vocab_size: int) -> None:
    """Train a small SentencePiece model on these sentences; the same sentences give the same file.

    It has PaliGemma's special tokens (pad 0, end 1, beginning 2, unknown 3), a token for the line break, and
    falls back to bytes, so that every text has tokens.

    Args:
        sentences: example prompts.
        path: the file to write.
        vocab_size: maximal number of tokens; 256 of them are the bytes.
    """
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(list(sentences)),
        model_writer=written,
        vocab_size=vocab_size,
        # As PaliGemma's; and it finds whole words where there are few sentences to learn from.
        model_type="bpe",
        hard_vocab_limit=False,
        pad_id=0,
        eos_id=1,
        bos_id=2,
        unk_id=3,
        byte_fallback=True,
        user_defined_symbols=["\n"],
        character_coverage=1.0,
        # Spaces and digits as they are, as in PaliGemma's model.
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        add_dummy_prefix=False,
        split_digits=True,
        num_threads=1,
        minloglevel=2,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, "wb") as file:
        file.write(written.getvalue())
