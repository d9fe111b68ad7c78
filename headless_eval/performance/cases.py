"""Cases to measure: weights' type, precision and engine; and the error of their actions."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headless_eval.performance.chip import NARROW
from headless_eval.quant.precision import Precision

_ITEM_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True)
class Case:
    """A case to measure: the weights' type, the precision, the engine and the execution."""

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
        """Return the bytes of a weight of a matrix product, in the type computed in."""
        return 1 if self.products in NARROW else _ITEM_BYTES[self.products]

    @property
    def value_bytes(self) -> int:
        """Return the bytes of any other value: only matrix products use 8 bits."""
        return _ITEM_BYTES.get(self.products, 2)


def make_cases(
    computes: Sequence[str],
    precisions: Sequence[Precision],
    executions: Sequence[str],
    engines: Sequence[str],
) -> list[Case]:
    """Return every combination without duplicates: the precision float32 is the same case for every execution."""
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
