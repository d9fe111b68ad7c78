"""Random generators of the process: kept as they are, or with states of each slot's own for policies without a seed."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch


class _States(NamedTuple):
    """The states of the generators of Python's ``random``, of NumPy and of torch, on the CPU and on all GPUs."""

    python: Any
    numpy: Any
    cpu: torch.Tensor
    gpus: list[torch.Tensor]


class SlotGenerators:
    """States of the global generators by slot, so that one episode's draws do not depend on another's."""

    def __init__(self) -> None:
        self._states: dict[int, _States] = {}

    def seed(self, slot: int, seed: int) -> None:
        """Let a slot's episode begin with generators of this seed, 0 to 2**32 - 1."""
        with kept_generators():
            random.seed(seed)
            np.random.seed(seed)  # noqa: NPY002 - the global generator, which policies draw from
            torch.manual_seed(seed)
            self._states[slot] = _present()

    def forget(self, slots: Sequence[int] | None) -> None:
        """Forget the states of some slots; None: of all."""
        for slot in list(self._states) if slots is None else slots:
            self._states.pop(slot, None)

    @contextmanager
    def of(self, slot: int) -> Iterator[None]:
        """Draw from a slot's generators within the block; the process's own states are put back.

        A slot without a seed draws from the process's generators.
        """
        if slot not in self._states:
            yield
            return
        with kept_generators():
            _set(self._states[slot])
            try:
                yield
            finally:
                self._states[slot] = _present()


@contextmanager
def kept_generators() -> Iterator[None]:
    """Leave the process's generators after the block as they were before it."""
    outside = _present()
    try:
        yield
    finally:
        _set(outside)


def _present() -> _States:
    gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    return _States(random.getstate(), np.random.get_state(), torch.get_rng_state(), gpus)  # noqa: NPY002


def _set(states: _States) -> None:
    random.setstate(states.python)
    np.random.set_state(states.numpy)  # noqa: NPY002
    torch.set_rng_state(states.cpu)
    if states.gpus:
        torch.cuda.set_rng_state_all(states.gpus)
