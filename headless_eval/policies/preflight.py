"""Preflight checks of a checkpoint that all families share, and the order in which checks run."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch

from headless_eval.checkpoints.stored import Stored
from headless_eval.errors import UserError
from headless_eval.policies.checks import FAILED, OK, SKIPPED, WARNING, Check
from headless_eval.policies.device import memory_free
from headless_eval.policies.norm_stats import NormStats
from headless_eval.policies.paligemma.tokenizer import Tokenizer
from headless_eval.shared.text import bytes_text

F = TypeVar("F")
Steps = Mapping[str, Callable[[F], tuple[str, str]]]
"""Checks by name, in order: each takes the findings so far, adds to them, and returns a status and a text."""


@dataclass(frozen=True)
class Opened:
    """The opened files of a checkpoint.

    Attributes:
        weights: the stored parameters, not yet read, by the model's own names.
        norm_stats: statistics of ``state`` and ``actions``.
        tokenizer: the tokenizer that the model was trained with.
    """

    weights: dict[str, Stored]
    norm_stats: dict[str, NormStats]
    tokenizer: Tokenizer


def refuse_failures(steps: Steps[F], found: F, left_out: Collection[str]) -> None:
    """Run the checks, except those in ``left_out``, which only ``make_checks`` runs.

    Raises:
        UserError: a check failed; the message says what to do.
    """
    for name, step in steps.items():
        if name in left_out:
            continue
        status, text = step(found)
        if status == FAILED:
            raise UserError(text)


def make_checks(steps: Steps[F], found: F, needs: Mapping[str, Sequence[str]]) -> Iterator[Check]:
    """Run all checks in order; checks that depend on a failed check are skipped."""
    failed: set[str] = set()
    for name, step in steps.items():
        without = [other for other in needs.get(name, ()) if other in failed]
        if without:
            failed.add(name)
            yield Check(name, SKIPPED, f"needs {' and '.join(without)}")
            continue
        try:
            status, text = step(found)
        except UserError as error:
            status, text = FAILED, str(error)
        if status == FAILED:
            failed.add(name)
        yield Check(name, status, text)


def check_statistics(
    stats: Mapping[str, NormStats], dims: Mapping[str, int], quantiles: bool
) -> tuple[str, str]:
    """Check that the ranges (with ``quantiles``) or the deviations of ``dims`` dimensions are above 0."""
    still = []
    for kind, of in stats.items():
        span = of.q99 - of.q01 if quantiles and of.q01 is not None and of.q99 is not None else of.std
        if (span[: dims[kind]] < 0).any():
            return FAILED, (
                f"the normalisation statistics of {kind} have a negative {'range' if quantiles else 'deviation'}: "
                "compute them again"
            )
        still += [f"{kind} {index}" for index in np.flatnonzero(span[: dims[kind]] < 1e-5)]
    how = "quantiles" if quantiles else "mean and deviation"
    lengths = ", ".join(f"{kind} {len(of)}" for kind, of in stats.items())
    if still:
        return WARNING, f"by {how}, {lengths}; never moved in training: {', '.join(still)}"
    return OK, f"by {how}, {lengths}"


def check_tokenizer(tokenizer: Tokenizer, wanted: int) -> tuple[str, str]:
    """Check that the sizes of tokenizer and model are compatible."""
    there = len(tokenizer)
    if there > wanted:
        return FAILED, (
            f"the tokenizer {tokenizer.path} has {there} tokens, the model {wanted}: it is not the one that the "
            "model was trained with; name that one (--tokenizer FILE)"
        )
    text = f"{tokenizer.path.name}, {there:,} tokens for the model's {wanted:,}"
    # PaliGemma's tokenizer has a thousand tokens fewer than its model; half as many means another tokenizer.
    return (WARNING, f"{text}: is it the one it was trained with?") if there < 0.5 * wanted else (OK, text)


def check_memory(parameters: int, device: torch.device, dtype: torch.dtype) -> tuple[str, str]:
    """Check that a device has enough free memory for a model."""
    free = memory_free(device)
    item = torch.empty((), dtype=dtype).element_size()
    needs = {
        "float32": 4 * parameters,
        "bfloat16": 2 * parameters,
        # The weights, and the copy that they are restored from.
        f"quantized {str(dtype).removeprefix('torch.')}": 2 * item * parameters,
    }
    text = ", ".join(f"{name} {bytes_text(size)}" for name, size in needs.items())
    text = f"weights as {text}; {bytes_text(free)} free on {device}"
    if item * parameters > free:
        return FAILED, f"{text}: free some, or choose another device or dtype"
    short = [name for name, size in needs.items() if size > free]
    return (WARNING, f"{text}: not enough for {', '.join(short)}") if short else (OK, text)
