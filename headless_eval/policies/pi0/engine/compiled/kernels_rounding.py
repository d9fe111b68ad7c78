"""Triton kernels for the roundings of activations with a scale for each sample: uint32, int32 and boolean.

A row (a sample's outputs) that fits one block's registers is rounded by one kernel. Of a larger one, blocks find the
extremes, and a second kernel rounds. ``boolean`` needs the lower median, exactly and without sorting: a float's
bits, mapped to unsigned integers in the same order, are decided from the top by counting, two at a time within a
block, eight at a time by kernels after one another. bfloat16 has 16 bits to decide, others 32.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

KINDS = ("uint32", "int32", "boolean")
_UINT32, _INT32, _BOOLEAN = tl.constexpr(0), tl.constexpr(1), tl.constexpr(2)

_SMALL = 32768  # numbers that 1024 threads keep in registers
_BLOCK = 4096
_BLOCKS = 1024  # as many as a GPU runs at a time, about
# The places of a row's memory: 256 counts a pass, then the largest number and the smallest, whose bits are turned
# so that zero is the least of both.
_COUNTS = tl.constexpr(256)


@triton.jit
def _ordered(v):
    """Map float32 to unsigned integers in the same order."""
    bits = v.to(tl.int32, bitcast=True)
    return (bits ^ ((bits >> 31) & 0x7FFFFFFF)).to(tl.uint32, bitcast=True) ^ 0x80000000


@triton.jit
def _number(u):
    """Undo ``_ordered``."""
    bits = (u ^ 0x80000000).to(tl.int32, bitcast=True)
    return (bits ^ ((bits >> 31) & 0x7FFFFFFF)).to(tl.float32, bitcast=True)


@triton.jit
def _median(known, BITS: tl.constexpr):
    """Return the number of which the upper bits are known, and the others those of bfloat16 if there are any."""
    if BITS == 16:
        known = tl.where(known >= 0x80000000, known, known | 0xFFFF)
    return _number(known)


@triton.jit
def _extremes(least, most):
    """Return the numbers of two integers, both NaN if one is beyond the infinities."""
    broken = (least < 0x007FFFFF) | (most > 0xFF800000)
    return tl.where(broken, float("nan"), _number(least)), tl.where(broken, float("nan"), _number(most))


@triton.jit
def _load(x, row, i, numbers, of_row, of_token, COLS: tl.constexpr):
    at = row * of_row + (i // COLS) * of_token + i % COLS
    return tl.load(x + at, mask=i < numbers, other=0.0).to(tl.float32)


@triton.jit
def _whole(v):
    """Round to whole numbers, half to even: added to 2^23, a float has no room for less."""
    size = tl.abs(v)
    near = tl.where(size < 8388608.0, (size + 8388608.0) - 8388608.0, size)
    return tl.where(v < 0, -near, near)


@triton.jit
def _rounded(v, low, high, median, KIND: tl.constexpr):
    """Do as ``quant.casts`` does, operation by operation; comparisons leave a NaN as it is."""
    if KIND == _BOOLEAN:
        above = (v > median).to(tl.float32)
        result = (above - 1.0) * -low + above * high
    elif KIND == _UINT32:
        scale = tl.div_rn(high - low, 4294967296.0)
        scale = tl.where(scale < 1e-38, 1e-38, scale)
        steps = _whole(tl.div_rn(v - low, scale))
        steps = tl.where(steps < 0, 0.0, steps)
        steps = tl.where(steps > 4294967296.0, 4294967296.0, steps)
        result = steps * scale + low
    else:
        scale = tl.div_rn(high - low, -4294967296.0)
        zero = tl.div_rn(low, scale) - 2147483648.0
        steps = _whole(tl.div_rn(v, scale)) + zero
        steps = tl.where(steps > 2147483648.0, 2147483648.0, steps)
        steps = tl.where(steps <= -2147483648.0, 2147483648.0, steps)
        result = tl.where(scale == 0, v, (steps - zero) * scale)
    return result


@triton.jit
def _round_small(
    x, y, numbers, of_row, of_token, COLS: tl.constexpr, BITS: tl.constexpr, KIND: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    i = tl.arange(0, BLOCK)
    there = i < numbers
    u = _ordered(_load(x, row, i, numbers, of_row, of_token, COLS))
    low, high = _extremes(tl.min(tl.where(there, u, 0xFFFFFFFF), 0), tl.max(tl.where(there, u, 0), 0))
    u = tl.where(there, u, 0xFFFFFFFF)
    rank = (numbers - 1) // 2
    known = tl.full((), 0, tl.uint32)
    one = tl.full((), 0x40000000, tl.uint32)
    for _ in range(BITS // 2 if KIND == _BOOLEAN else 0):
        first = tl.sum((u < known + one).to(tl.int32), 0)
        second = tl.sum((u < known + one * 2).to(tl.int32), 0)
        third = tl.sum((u < known + one * 3).to(tl.int32), 0)
        digit = (first <= rank).to(tl.uint32) + (second <= rank).to(tl.uint32) + (third <= rank).to(tl.uint32)
        known += one * digit
        one = one >> 2
    rounded = _rounded(_number(u), low, high, _median(known, BITS), KIND)
    tl.store(y + row * numbers + i, rounded.to(y.dtype.element_ty), mask=there)


@triton.jit
def _known(memory, rank, PASSES: tl.constexpr):
    """Return the bits that so many passes have decided, and the rank among the numbers that have them."""
    known = tl.full((), 0, tl.uint32)
    for before in tl.static_range(PASSES):
        here = tl.load(memory + before * _COUNTS + tl.arange(0, _COUNTS))
        below = tl.cumsum(here, 0) <= rank
        digit = tl.sum(below.to(tl.int32), 0)
        rank -= tl.sum(tl.where(below, here, 0), 0)
        known += digit.to(tl.uint32) << (24 - 8 * before)
    return known, rank


@triton.jit
def _count(
    x, memory, numbers, of_row, of_token, loops, COLS: tl.constexpr, PASS: tl.constexpr, PASSES: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    memory += row * (PASSES * _COUNTS + 2)
    known, _ = _known(memory, (numbers - 1) // 2, PASS)  # nothing in the first
    found = tl.zeros((2 * _COUNTS,), tl.int32)
    most = tl.zeros((BLOCK,), tl.uint32)
    turned = tl.zeros((BLOCK,), tl.uint32)
    for loop in range(loops):
        i = (tl.program_id(1) * loops + loop) * BLOCK + tl.arange(0, BLOCK)
        u = _ordered(_load(x, row, i, numbers, of_row, of_token, COLS))
        counted = i < numbers
        if PASS == 0:
            most = tl.maximum(most, tl.where(counted, u, 0))
            turned = tl.maximum(turned, tl.where(counted, ~u, 0))
        else:
            counted = counted & ((u >> (32 - 8 * PASS)) == (known >> (32 - 8 * PASS)))
        if PASSES > 0:
            digit = ((u >> (24 - 8 * PASS)) & 255).to(tl.int32)
            # What does not count goes to bins beyond.
            found += tl.histogram(tl.where(counted, digit, _COUNTS), 2 * _COUNTS)
    if PASSES > 0:
        bins = tl.arange(0, 2 * _COUNTS)
        tl.atomic_add(memory + PASS * _COUNTS + bins, found, mask=(bins < _COUNTS) & (found > 0))
    if PASS == 0:
        places = (memory + PASSES * _COUNTS).to(tl.pointer_type(tl.uint32), bitcast=True)
        tl.atomic_max(places, tl.max(most, 0))
        tl.atomic_max(places + 1, tl.max(turned, 0))


@triton.jit
def _round_large(
    x, y, memory, numbers, of_row, of_token, loops, COLS: tl.constexpr, PASSES: tl.constexpr, KIND: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    memory += row * (PASSES * _COUNTS + 2)
    known, _ = _known(memory, (numbers - 1) // 2, PASSES)
    median = _median(known, 8 * PASSES)
    most = tl.load(memory + PASSES * _COUNTS).to(tl.uint32, bitcast=True)
    turned = tl.load(memory + PASSES * _COUNTS + 1).to(tl.uint32, bitcast=True)
    low, high = _extremes(~turned, most)
    for loop in range(loops):
        i = (tl.program_id(1) * loops + loop) * BLOCK + tl.arange(0, BLOCK)
        v = _load(x, row, i, numbers, of_row, of_token, COLS)
        rounded = _rounded(v, low, high, median, KIND)
        tl.store(y + row * numbers + i, rounded.to(y.dtype.element_ty), mask=i < numbers)


def round_scaled(x: Tensor, dtype: str) -> Tensor:
    """Return x (rows, ..., features) rounded to what one of ``KINDS`` can hold, with a scale for every row."""
    y = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    of = x[:, None] if x.ndim == 2 else x.flatten(1, -2)
    of = of if of.stride(-1) == 1 else of.contiguous()
    rows, numbers, cols = len(of), of[0].numel(), of.shape[2]
    sizes = (numbers, of.stride(0), of.stride(1))
    bits = 16 if x.dtype == torch.bfloat16 else 32
    # A product and a sum in one would round once where the definition rounds twice.
    given = {"COLS": cols, "KIND": KINDS.index(dtype), "enable_fp_fusion": False}
    if numbers <= _SMALL:
        block = max(256, triton.next_power_of_2(numbers))
        warps = max(4, min(32, block // 512))
        _round_small[(rows,)](of, y, *sizes, **given, BITS=bits, BLOCK=block, num_warps=warps)
        return y
    passes = bits // 8 if dtype == "boolean" else 0
    memory = torch.zeros(rows, passes * 256 + 2, dtype=torch.int32, device=x.device)
    loops = max(1, triton.cdiv(numbers, _BLOCK) * rows // _BLOCKS)
    grid = (rows, triton.cdiv(numbers, _BLOCK * loops))
    for now in range(max(1, passes)):
        _count[grid](of, memory, *sizes, loops, COLS=cols, PASS=now, PASSES=passes, BLOCK=_BLOCK, num_warps=8)
    _round_large[grid](of, y, memory, *sizes, loops, **given, PASSES=passes, BLOCK=_BLOCK, num_warps=8)
    return y
