"""Casts: how each simulated data type rounds values, which stay float32.

How the data types round was read off the published floating-point benchmark's quantizer, bit for bit:

================  ======================================================================================
float16,          a cast there and back; float16 overflows to infinity
bfloat16
float8_e4m3       clamped to ±448, then cast (``torch.float8_e4m3fn``); no scale
float8_e5m2       clamped to ±57344, then cast (``torch.float8_e5m2``, the OCP type that hardware runs; the
                  benchmark's own is the FNUZ variant, which differs only below 2^-14); no scale
uint32            2^32 - 1 steps from the smallest value to the largest, in float32 arithmetic
int32             as uint32 with a zero point of the wrong sign, see ``_int32``
boolean           values above the (lower) median become the largest value, the others the smallest
int8, int4        symmetric: the largest magnitude becomes 127 or 7; half to even
================  ======================================================================================

Values that are all equal stay as they are under uint32, int32 and boolean. Where values share a scale, a NaN or an
infinity among them makes all of them NaN or infinite: a broken value shows and is not rounded away.

``@cast("int8")`` above a function makes it the cast of the data type that ``dtypes.py`` names int8.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from headless_eval.quant.dtypes import DTYPES
from headless_eval.shared.suggest import unknown

Cast = Callable[[Tensor], Tensor]
"""From float32 to float32, without change to what is given. Data types without a scale are given tensors of any
shape; others (groups, values), where each group, a row, gets its own scale."""

_CASTS: dict[str, Cast] = {}
_E4M3, _E5M2 = 448.0, 57344.0  # the largest values


def cast(dtype: str) -> Callable[[Cast], Cast]:
    """Return a decorator that makes a function the cast of a data type."""

    def decorate(function: Cast) -> Cast:
        _CASTS[dtype] = function
        return function

    return decorate


@cast("float16")
def _float16(x: Tensor) -> Tensor:
    return x.to(torch.float16).to(torch.float32)


@cast("bfloat16")
def _bfloat16(x: Tensor) -> Tensor:
    return x.to(torch.bfloat16).to(torch.float32)


@cast("float8_e4m3")
def _float8_e4m3(x: Tensor) -> Tensor:
    x = x.clamp(-_E4M3, _E4M3)
    if x.device.type != "cpu":
        return x.to(torch.float8_e4m3fn).to(torch.float32)
    # torch's cast takes one value after another on a CPU. The same in vector operations: adding 1.5 * 2^20 times
    # a value's power of two leaves room for three bits of its mantissa, rounded half to even; below 2^-6, the
    # smallest normal number, the steps get no finer.
    power = x.view(torch.int32).bitwise_and(0x7F800000).view(torch.float32)
    shift = power.clamp_(min=2.0**-6).mul_(1.5 * 2.0**20)
    return (x + shift).sub_(shift).copysign_(x)


@cast("float8_e5m2")
def _float8_e5m2(x: Tensor) -> Tensor:
    return x.clamp(-_E5M2, _E5M2).to(torch.float8_e5m2).to(torch.float32)


# The casts with a scale run some hundred times an inference, mostly on a few thousand values: hence in place, and
# without torch.where, slow on a CPU, if possible.


@cast("uint32")
def _uint32(rows: Tensor) -> Tensor:
    low, high = rows.amin(dim=1, keepdim=True), rows.amax(dim=1, keepdim=True)
    scale = (high - low).div_(2.0**32 - 1).clamp_(min=1e-38)  # equal values: 0 steps above low, exactly
    return (rows - low).div_(scale).round_().clamp_(0.0, 2.0**32 - 1).mul_(scale).add_(low)


@cast("int32")
def _int32(rows: Tensor) -> Tensor:
    # The benchmark subtracts the zero point where an affine quantizer adds it. So the range represented is
    # not [low, high] but [-high, -low]: values below it saturate at -high, and values above it overflow the
    # integer, whose bits then mean the smallest one, -high again. Tensors around zero lose little; those of
    # one sign collapse to a constant. The overflow is written out, so that every device does the same. Scale and
    # steps have the opposite sign of the benchmark's, for which torch has the operation.
    low, high = rows.amin(dim=1, keepdim=True), rows.amax(dim=1, keepdim=True)
    scale = (high - low).div_(-(2.0**32 - 1))
    zero_point = low / scale - 2.0**31
    steps = (rows / scale).round_().add_(zero_point).clamp_(max=2.0**31)
    steps = torch.threshold_(steps, -(2.0**31), 2.0**31)
    return torch.where(scale == 0, rows, steps.sub_(zero_point).mul_(scale))


@cast("boolean")
def _boolean(rows: Tensor) -> Tensor:
    rows = rows.detach()
    low, high = rows.amin(dim=1, keepdim=True), rows.amax(dim=1, keepdim=True)
    above = torch.gt(rows, _lower_median(rows), out=torch.empty_like(rows))
    highs = above * high
    return above.sub_(1.0).mul_(-low).add_(highs)


def _lower_median(rows: Tensor) -> Tensor:
    middle = (rows.shape[1] - 1) // 2
    if rows.device.type == "cpu":
        # Six times faster than torch.median.
        values = np.partition(rows.numpy(), middle, axis=1)[:, middle : middle + 1]
        return torch.from_numpy(values)
    return rows.sort(dim=1).values[:, middle : middle + 1]


@cast("int8")
def _int8(rows: Tensor) -> Tensor:
    return _symmetric(rows, 127)


@cast("int4")
def _int4(rows: Tensor) -> Tensor:
    return _symmetric(rows, 7)


def _symmetric(rows: Tensor, largest: int) -> Tensor:
    scale = rows.abs().amax(dim=1, keepdim=True)
    # By a tensor: CUDA divides by a number as a product with its reciprocal, which rounds otherwise.
    scale = scale.div_(torch.full_like(scale, largest)).clamp_(min=1e-38)
    return (rows / scale).round_().mul_(scale)


def fake_quantize(tensor: Tensor, dtype: str, axis: int | tuple[int, ...] | None = None) -> Tensor:
    """Round a tensor to the values that ``dtype`` can hold.

    Nothing is read back to the host, so it runs on a GPU without synchronisation.

    Args:
        tensor: float32, any shape; left unchanged.
        dtype: one of ``DTYPES``.
        axis: the axes *kept*, that is not shared: every index along them has its own scale, which is taken
            over all other axes. ``None``: one scale for the whole tensor. ``0`` for the weight of a Linear
            layer, (out, in): one per output channel. ``(0, 1)`` for (batch, token, feature): one per token.
            The float types have no scale, so it makes no difference to them.

    Returns:
        float32 tensor of the same shape.

    Raises:
        UserError: the dtype is unknown; the message suggests the nearest.
        TypeError: the tensor is not float32.
    """
    if dtype not in DTYPES:
        raise unknown("dtype", dtype, DTYPES)
    if tensor.dtype != torch.float32:
        raise TypeError(f"fake_quantize takes float32, not {tensor.dtype}")
    if dtype == "float32" or tensor.numel() == 0:
        return tensor.clone()
    if DTYPES[dtype].scale == "none":
        return _CASTS[dtype](tensor)
    kept = () if axis is None else (axis,) if isinstance(axis, int) else axis
    front = tuple(range(len(kept)))
    moved = tensor if kept == front else tensor.movedim(kept, front)
    rows = moved.reshape(moved.shape[: len(kept)].numel(), -1)
    rounded = _CASTS[dtype](rows).reshape(moved.shape)
    return rounded if kept == front else rounded.movedim(front, kept)


def quantized(tensor: Tensor, dtype: str, axis: int | tuple[int, ...] | None) -> Tensor:
    """Do as ``fake_quantize`` does for a tensor of any floating-point type, in float32, and cast back."""
    if tensor.dtype == torch.float32:
        return fake_quantize(tensor, dtype, axis)
    return fake_quantize(tensor.to(torch.float32), dtype, axis).to(tensor.dtype)
