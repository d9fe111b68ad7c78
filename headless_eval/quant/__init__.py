"""Numerical precision: how a model is put into one, and gets its float32 bits back.

``precision``, ``dtypes`` and ``methods`` name the precisions, without torch. ``quantize`` puts a model into one.

For data types, ``casts`` rounds values, and ``weights`` and ``activations`` choose which are rounded. For methods,
``linears`` chooses the layers and defines quantized ones, ``solve`` makes these, by changes of basis (``bases``) and
from a ``calibration``; ``integers`` and ``packs`` store their weights in 2 to 8 bits. ``handle`` restores the model.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from headless_eval.quant.dtypes import BENCHMARK_DTYPES, DTYPES
from headless_eval.quant.methods.duquant import DuQuant
from headless_eval.quant.methods.rtn import RoundToNearest
from headless_eval.quant.methods.smoothquant import SmoothQuant
from headless_eval.quant.precision import EVERYTHING, MODES, Precision, Scope, configurations

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
