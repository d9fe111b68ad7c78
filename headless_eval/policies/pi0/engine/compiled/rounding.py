"""Rounding of activations inside a traced graph: what ``quant``'s hooks do, in operations that compilers keep.

A compiler takes a cast to a narrower type and back for nothing and drops it, so these types are written out as
arithmetic that gives the same bits.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from headless_eval.quant.casts import fake_quantize
from headless_eval.quant.dtypes import per_channel


@dataclass(frozen=True)
class Rounding:
    """Which outputs of a part of the model are rounded, and to what.

    Args:
        dtype: one of ``DTYPES``; None where nothing is rounded.
        roles: of the modules whose outputs are.
        seen: those that tracing the part has come across, filled in by it.
    """

    dtype: str | None = None
    roles: frozenset[str] = frozenset()
    seen: set[str] = field(default_factory=set, compare=False)

    def __call__(self, role: str, x: Tensor) -> Tensor:
        """Return a module's output (samples, tokens, features), or (samples, features), as the next one gets it."""
        if self.dtype is None or role not in self.roles:
            return x
        self.seen.add(role)
        return rounded(x, self.dtype)


def rounded(x: Tensor, dtype: str) -> Tensor:
    """Do as ``quantized`` does with an activation: a scale for every sample, or for every token (int8, int4)."""
    if x.device.type == "cuda" and dtype in ("uint32", "int32", "boolean"):
        return round_scaled(x, dtype)
    wide = x.to(torch.float32)
    if dtype in _CASTS:
        wide = _CASTS[dtype](wide)
    elif dtype == "boolean":
        wide = _boolean(wide)
    else:
        kept = tuple(range(x.ndim - 1)) if per_channel(dtype) else 0
        wide = fake_quantize(wide, dtype, kept)
    return wide.to(x.dtype)


def _mantissa(x: Tensor, bits: int, smallest: float) -> Tensor:
    """Round to so many bits after the leading one, half to even; below ``smallest`` steps get no finer.

    Adding 1.5 times a power of two pushes the bits beyond out of the float32 at its end.
    """
    power = (x.view(torch.int32) & 0x7F800000).view(torch.float32)
    shift = power.clamp(min=smallest) * (1.5 * 2.0 ** (23 - bits))
    return torch.copysign((x + shift) - shift, x)


def _float16(x: Tensor) -> Tensor:
    infinite = torch.copysign(torch.full_like(x, torch.inf), x)
    return torch.where(x.abs() >= 65520.0, infinite, _mantissa(x, 10, 2.0**-14))


def _bfloat16(x: Tensor) -> Tensor:
    bits = x.view(torch.int32)
    # Half of the last place, less one where that place is even: half to even.
    near = (bits + 0x7FFF + ((bits >> 16) & 1)) & -0x10000
    return torch.where(x.isnan(), x, near.view(torch.float32))


_CASTS = {
    "float16": _float16,
    "bfloat16": _bfloat16,
    "float8_e4m3": lambda x: _mantissa(x.clamp(-448.0, 448.0), 3, 2.0**-6),
    "float8_e5m2": lambda x: _mantissa(x.clamp(-57344.0, 57344.0), 2, 2.0**-14),
}

ROUNDED = (*_CASTS, "boolean", "uint32", "int32", "int8", "int4")
"""The data types that activations can be rounded to in a traced graph."""


def _boolean(x: Tensor) -> Tensor:
    axes = tuple(range(1, x.ndim))
    low, high = x.amin(dim=axes, keepdim=True), x.amax(dim=axes, keepdim=True)
    # As the hooks do it: sums that carry a NaN on.
    above = (x > lower_median(x).view(low.shape)).to(torch.float32)
    return (above - 1.0) * -low + above * high


# Operations that a compiler leaves as they are.


@torch.library.custom_op("headless_eval::lower_median", mutates_args=(), device_types="cpu")
def lower_median(x: Tensor) -> Tensor:
    """Return the lower median of every sample of x (samples, ..., features) float32, as (samples,)."""
    rows = x.flatten(1).numpy()
    middle = (rows.shape[1] - 1) // 2
    return torch.from_numpy(np.partition(rows, middle, axis=1)[:, middle].copy())


@lower_median.register_fake
def _(x: Tensor) -> Tensor:
    return x.new_empty(len(x))


@torch.library.custom_op("headless_eval::round_scaled", mutates_args=(), device_types="cuda")
def round_scaled(x: Tensor, dtype: str) -> Tensor:
    """Return x (samples, ..., features) rounded with a scale for every sample."""
    from headless_eval.policies.pi0.engine.compiled import kernels_rounding

    return kernels_rounding.round_scaled(x, dtype)


@round_scaled.register_fake
def _(x: Tensor, dtype: str) -> Tensor:
    return torch.empty(x.shape, dtype=x.dtype, device=x.device)
