"""Numerical precision: what a model computes at, and the way back to its float32 bits.

``precision`` and ``methods`` say what there is (no torch). ``quantize`` puts a model into a precision: ``casts``
says how data types round, ``weights`` and ``activations`` what is rounded, ``handle`` how the model gets its bits
back. Methods are the rest: ``linears`` says which layers they change and what becomes of one, ``solve`` how each
method finds it, in other ``bases`` and from a ``calibration``; ``integers`` and ``packs`` store weights in 2 to 8
bits.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from headless_eval.quant.methods import DuQuant, RoundToNearest, SmoothQuant
from headless_eval.quant.precision import (
    BENCHMARK_DTYPES,
    DTYPES,
    EVERYTHING,
    MODES,
    Precision,
    Scope,
    configurations,
)

if TYPE_CHECKING:
    from headless_eval.quant.calibration import Calibration, Recorder
    from headless_eval.quant.casts import fake_quantize
    from headless_eval.quant.handle import Handle
    from headless_eval.quant.quantize import quantize_

__all__ = [
    "BENCHMARK_DTYPES",
    "DTYPES",
    "EVERYTHING",
    "MODES",
    "Calibration",
    "DuQuant",
    "Handle",
    "Precision",
    "Recorder",
    "RoundToNearest",
    "Scope",
    "SmoothQuant",
    "configurations",
    "fake_quantize",
    "quantize_",
]

# Imported when first asked for: these need torch, which takes seconds, and the command line's help does not.
_WITH_TORCH = {
    "Calibration": "calibration",
    "Handle": "handle",
    "Recorder": "calibration",
    "fake_quantize": "casts",
    "quantize_": "quantize",
}


def __getattr__(name: str) -> Any:
    if name not in _WITH_TORCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WITH_TORCH[name]}"), name)
