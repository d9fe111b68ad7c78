"""The ways to compute that are measured, and how far their actions are from the reference's."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headless_eval.performance.chip import NARROW
from headless_eval.quant.precision import Precision

_ITEM_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True)
class Case:
    """One way to compute: the weights' type, the precision, and who executes it."""

    compute: str
    precision: Precision
    execution: str
    engine: str

    @property
    def products(self) -> str:
        """Return the type of the matrix products."""
        return self.precision.dtype if self.execution == "native" else self.compute

    @property
    def weight_bytes(self) -> int:
        """Return what a weight of a matrix product takes where it is computed."""
        return 1 if self.products in NARROW else _ITEM_BYTES[self.products]

    @property
    def value_bytes(self) -> int:
        """Return what any other value takes: 8 bits are for products alone."""
        return _ITEM_BYTES.get(self.products, 2)


def make_cases(
    computes: Sequence[str],
    precisions: Sequence[Precision],
    executions: Sequence[str],
    engines: Sequence[str],
) -> list[Case]:
    """Return every combination, without duplicates: float32 as a precision is the model as it is, for any execution."""
    cases = [
        Case(compute, precision, execution if precision.dtype != "float32" else "simulated", engine)
        for compute, precision, execution, engine in itertools.product(
            computes, precisions, executions, engines
        )
    ]
    return list(dict.fromkeys(cases))


def relative_errors(actions: np.ndarray, reference: np.ndarray) -> tuple[float, float]:
    """Return the relative root mean square and the relative largest difference."""
    number = min(len(actions), len(reference))
    theirs = reference[:number].astype(np.float64)
    difference = actions[:number].astype(np.float64) - theirs
    rms = np.sqrt(np.square(difference).mean() / np.square(theirs).mean())
    return float(rms), float(np.abs(difference).max() / np.abs(theirs).max())
