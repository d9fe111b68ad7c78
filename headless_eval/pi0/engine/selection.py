"""Triton kernels for the ``boolean`` rounding of activations on a GPU: the exact lower median without sorting.

A float's bits, mapped to unsigned integers in the same order, are decided from the top, by counting. Rows that one
block can read again and again are rounded by one kernel; of larger rows, kernels count eight bits at a time.
bfloat16 has 16 bits to decide, others 32.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

SMALL = 65536
"""The most numbers of a row that one block rounds."""

_CHUNK = 16384
_BLOCK, _LOOPS = 4096, 4


@triton.jit
def _ordered(v):
    """Map float32 to unsigned integers in the same order."""
    bits = v.to(tl.int32, bitcast=True)
    return (bits ^ ((bits >> 31) & 0x7FFFFFFF)).to(tl.uint32, bitcast=True) ^ 0x80000000


@triton.jit
def _number(u, BITS: tl.constexpr):
    """Undo ``_ordered``, where only the upper bits of u are known."""
    if BITS == 16:
        u = tl.where(u >= 0x80000000, u, u | 0xFFFF)
    bits = (u ^ 0x80000000).to(tl.int32, bitcast=True)
    return (bits ^ ((bits >> 31) & 0x7FFFFFFF)).to(tl.float32, bitcast=True)


@triton.jit
def _load(x, row, i, numbers, cols, of_row, of_token):
    return tl.load(x + row * of_row + (i // cols) * of_token + i % cols, mask=i < numbers, other=0.0).to(
        tl.float32
    )


@triton.jit
def _round_small(
    x, y, numbers, cols, of_row, of_token, BITS: tl.constexpr, CHUNK: tl.constexpr, CHUNKS: tl.constexpr
):
    row = tl.program_id(0).to(tl.int64)
    rank = (numbers - 1) // 2
    low = float("inf")
    high = float("-inf")
    broken = 0
    for chunk in tl.static_range(CHUNKS):
        i = chunk * CHUNK + tl.arange(0, CHUNK)
        v = _load(x, row, i, numbers, cols, of_row, of_token)
        there = i < numbers
        low = tl.minimum(low, tl.min(tl.where(there, v, float("inf")), 0))
        high = tl.maximum(high, tl.max(tl.where(there, v, float("-inf")), 0))
        broken += tl.sum((v != v).to(tl.int32), 0)
    if broken > 0:
        low = float("nan")
        high = float("nan")
    # Where one chunk is all, it stays in registers; several are read again, from a cache near by.
    i = tl.arange(0, CHUNK)
    u = tl.where(i < numbers, _ordered(_load(x, row, i, numbers, cols, of_row, of_token)), 0xFFFFFFFF)
    known = tl.full((), 0, tl.uint32)
    one = tl.full((), 0x40000000, tl.uint32)
    for _ in range(BITS // 2):
        first, second, third = 0, 0, 0
        for chunk in tl.static_range(CHUNKS):
            if CHUNKS > 1:
                i = chunk * CHUNK + tl.arange(0, CHUNK)
                u = _ordered(_load(x, row, i, numbers, cols, of_row, of_token))
                u = tl.where(i < numbers, u, 0xFFFFFFFF)
            first += tl.sum((u < known + one).to(tl.int32), 0)
            second += tl.sum((u < known + one * 2).to(tl.int32), 0)
            third += tl.sum((u < known + one * 3).to(tl.int32), 0)
        digit = (first <= rank).to(tl.uint32) + (second <= rank).to(tl.uint32) + (third <= rank).to(tl.uint32)
        known += one * digit
        one = one >> 2
    median = _number(known, BITS)
    for chunk in tl.static_range(CHUNKS):
        i = chunk * CHUNK + tl.arange(0, CHUNK)
        v = _load(x, row, i, numbers, cols, of_row, of_token)
        above = (v > median).to(tl.float32)
        rounded = (above - 1.0) * -low + above * high
        tl.store(y + row * numbers + i, rounded.to(y.dtype.element_ty), mask=i < numbers)


@triton.jit
def _known(counts, row, rank, PASS: tl.constexpr, PASSES: tl.constexpr):
    """Return the bits that the passes before this one have decided, and the rank among numbers that have them."""
    known = tl.full((), 0, tl.uint32)
    for before in tl.static_range(PASS):
        here = tl.load(counts + (row * PASSES + before) * 256 + tl.arange(0, 256))
        below = tl.cumsum(here, 0) <= rank
        digit = tl.sum(below.to(tl.int32), 0)
        rank -= tl.sum(tl.where(below, here, 0), 0)
        known += digit.to(tl.uint32) << (24 - 8 * before)
    return known, rank


@triton.jit
def _count(
    x, counts, numbers, cols, of_row, of_token, PASS: tl.constexpr, PASSES: tl.constexpr, BLOCK: tl.constexpr,
    LOOPS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    known, _ = _known(counts, row, (numbers - 1) // 2, PASS, PASSES)
    found = tl.zeros((512,), tl.int32)
    for loop in range(LOOPS):
        i = (tl.program_id(1) * LOOPS + loop) * BLOCK + tl.arange(0, BLOCK)
        u = _ordered(_load(x, row, i, numbers, cols, of_row, of_token))
        counted = i < numbers
        if PASS > 0:
            counted = counted & ((u >> (32 - 8 * PASS)) == (known >> (32 - 8 * PASS)))
        digit = ((u >> (24 - 8 * PASS)) & 255).to(tl.int32)
        # What does not count goes to bins beyond.
        found += tl.histogram(tl.where(counted, digit, 256), 512)
    bins = tl.arange(0, 512)
    tl.atomic_add(counts + (row * PASSES + PASS) * 256 + bins, found, mask=(bins < 256) & (found > 0))


@triton.jit
def _finish(counts, median, numbers, BITS: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    known, _ = _known(counts, row, (numbers - 1) // 2, BITS // 8, BITS // 8)
    tl.store(median + row, _number(known, BITS))


def _strided(x: Tensor) -> Tensor:
    """Return x as (rows, tokens, features) with features side by side."""
    x = x[:, None] if x.ndim == 2 else x.flatten(1, -2)
    return x if x.stride(-1) == 1 else x.contiguous()


def round_small(x: Tensor) -> Tensor:
    """Return x (rows, ..., features), of no more than ``SMALL`` numbers a row, rounded to two values a row."""
    y = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    of = _strided(x)
    numbers = of[0].numel()
    chunk = min(_CHUNK, max(256, triton.next_power_of_2(numbers)))
    _round_small[(len(of),)](
        of,
        y,
        numbers,
        of.shape[2],
        of.stride(0),
        of.stride(1),
        BITS=_bits(x),
        CHUNK=chunk,
        CHUNKS=triton.cdiv(numbers, chunk),
        num_warps=max(4, min(32, chunk // 512)),
    )
    return y


def lower_median(x: Tensor) -> Tensor:
    """Return the lower medians of x (rows, ..., features), as (rows,) float32."""
    of = _strided(x)
    rows, numbers, bits = len(of), of[0].numel(), _bits(x)
    passes = bits // 8
    counts = torch.zeros(rows, passes, 256, dtype=torch.int32, device=x.device)
    grid = (rows, triton.cdiv(numbers, _BLOCK * _LOOPS))
    sizes = (numbers, of.shape[2], of.stride(0), of.stride(1))
    for now in range(passes):
        _count[grid](of, counts, *sizes, PASS=now, PASSES=passes, BLOCK=_BLOCK, LOOPS=_LOOPS, num_warps=8)
    median = torch.empty(rows, dtype=torch.float32, device=x.device)
    _finish[(rows,)](counts, median, numbers, BITS=bits)
    return median


def _bits(x: Any) -> int:
    return 16 if x.dtype == torch.bfloat16 else 32
