"""Triton kernels that work on one row, a token, at a time: norms, gates, rotary positions.

Every row's arithmetic is its own: no result depends on what else is in the batch. Tensors are contiguous.
"""

from functools import cache
from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

EPSILON = 1e-6
_PIECE = 2048  # numbers of a row for one program, where the row need not be seen whole
LARGEST = {torch.float8_e4m3fn: 448.0, torch.int8: 127.0}


class Rounded(NamedTuple):
    """Rows in eight bits: values (M, N), and what each row is to be multiplied by, (M, 1) float32."""

    values: Tensor
    scales: Tensor


@triton.jit
def _wait(EARLY: tl.constexpr):
    """Wait for the kernel ahead, where this one may start before that has ended."""
    if EARLY:
        tl.extra.cuda.gdc_wait()


@triton.jit
def _store_rounded(out, scales, row, at, inside, y, LARGEST: tl.constexpr):
    """Store a row scaled to the range of an eight-bit type, and its scale; LARGEST 0: as it is."""
    if LARGEST > 0:
        most = tl.maximum(tl.max(tl.abs(y), 0), 1e-30)
        tl.store(scales + row, most / LARGEST)
        y = y * (LARGEST / most)
        if LARGEST == 127.0:
            y = tl.floor(y + 0.5)
    tl.store(out + at, y.to(out.dtype.element_ty), mask=inside)


@triton.jit
def _norm(
    x,
    change,
    gate,
    scale,
    shift,
    out,
    scales,
    N,
    EPS: tl.constexpr,
    LAYER: tl.constexpr,
    CHANGE: tl.constexpr,
    GATE: tl.constexpr,
    SHIFT: tl.constexpr,
    LARGEST: tl.constexpr,
    BLOCK: tl.constexpr,
    EARLY: tl.constexpr,
):
    _wait(EARLY)
    row = tl.program_id(0)
    cols = tl.arange(0, BLOCK)
    inside = cols < N
    at = row.to(tl.int64) * N + cols
    value = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
    if CHANGE:
        added = tl.load(change + at, mask=inside, other=0.0).to(tl.float32)
        if GATE:
            added *= tl.load(gate + cols, mask=inside, other=0.0).to(tl.float32)
        kept = (value + added).to(x.dtype.element_ty)
        tl.store(x + at, kept, mask=inside)
        value = kept.to(tl.float32)
    if LAYER:
        value = tl.where(inside, value - tl.sum(value, 0) / N, 0.0)
    value *= tl.rsqrt(tl.sum(value * value, 0) / N + EPS)
    y = value * tl.load(scale + cols, mask=inside, other=0.0).to(tl.float32)
    if SHIFT:
        y += tl.load(shift + cols, mask=inside, other=0.0).to(tl.float32)
    _store_rounded(out, scales, row, at, inside, y, LARGEST)


@triton.jit
def _gelu(
    hidden,
    out,
    scales,
    N,
    GATED: tl.constexpr,
    LARGEST: tl.constexpr,
    BLOCK: tl.constexpr,
    EARLY: tl.constexpr,
):
    """One row or, where there is no scale to find for it, a piece of one."""
    _wait(EARLY)
    row = tl.program_id(0)
    cols = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = cols < N
    start = row.to(tl.int64) * N
    if GATED:
        x = tl.load(hidden + 2 * start + cols, mask=inside, other=0.0).to(tl.float32)
    else:
        x = tl.load(hidden + start + cols, mask=inside, other=0.0).to(tl.float32)
    # The tanh approximation, as a sigmoid.
    y = x * tl.sigmoid(1.5957691216057308 * (x + 0.044715 * x * x * x))
    if GATED:
        y *= tl.load(hidden + 2 * start + N + cols, mask=inside, other=0.0).to(tl.float32)
    _store_rounded(out, scales, row, start + cols, inside, y, LARGEST)


@triton.jit
def _round(x, out, scales, N, LARGEST: tl.constexpr, BLOCK: tl.constexpr, EARLY: tl.constexpr):
    _wait(EARLY)
    row = tl.program_id(0)
    cols = tl.arange(0, BLOCK)
    inside = cols < N
    at = row.to(tl.int64) * N + cols
    _store_rounded(
        out, scales, row, at, inside, tl.load(x + at, mask=inside, other=0.0).to(tl.float32), LARGEST
    )


@triton.jit
def _rotate(
    qkv,
    keys,
    values,
    table,
    lengths,
    tokens,
    before,
    slots,
    OWN: tl.constexpr,
    HEADS: tl.constexpr,
    BLOCK_HEADS: tl.constexpr,
    HALF: tl.constexpr,
    EARLY: tl.constexpr,
):
    """Rotate queries in place and keys on their way to where attention finds them, with the values."""
    _wait(EARLY)
    row = tl.program_id(0)
    sample, token = row // tokens, row % tokens
    position = token
    if OWN:
        position += tl.load(lengths + sample)
    i = tl.arange(0, HALF)
    cos = tl.load(table + position * 2 * HALF + i)
    sin = tl.load(table + position * 2 * HALF + HALF + i)
    size = 2 * HALF
    at = qkv + row.to(tl.int64) * ((HEADS + 2) * size)
    to = (sample.to(tl.int64) * slots + before + token) * size
    if HEADS > 0:
        heads = tl.arange(0, BLOCK_HEADS)
        there = (heads < HEADS)[:, None]
        place = heads[:, None] * size + i[None, :]
        first = tl.load(at + place, mask=there).to(tl.float32)
        second = tl.load(at + place + HALF, mask=there).to(tl.float32)
        tl.store(
            at + place, (first * cos[None, :] - second * sin[None, :]).to(qkv.dtype.element_ty), mask=there
        )
        tl.store(
            at + place + HALF,
            (second * cos[None, :] + first * sin[None, :]).to(qkv.dtype.element_ty),
            mask=there,
        )
    first = tl.load(at + HEADS * size + i).to(tl.float32)
    second = tl.load(at + HEADS * size + HALF + i).to(tl.float32)
    tl.store(keys + to + i, (first * cos - second * sin).to(keys.dtype.element_ty))
    tl.store(keys + to + HALF + i, (second * cos + first * sin).to(keys.dtype.element_ty))
    both = tl.arange(0, 2 * HALF)
    tl.store(values + to + both, tl.load(at + (HEADS + 1) * size + both))


@cache
def _can_start_early(device: torch.device) -> bool:
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (9, 0)


def launch(device: torch.device) -> dict[str, bool]:
    """Return what a kernel is launched with so that it starts as early as the GPU lets it."""
    early = _can_start_early(device)
    return {"EARLY": early, "launch_pdl": early}


def _warps(block: int) -> int:
    return max(1, min(16, block // 512))


def _target(like: Tensor, rows: int, width: int, kind: torch.dtype | None) -> tuple[Tensor, Tensor]:
    out = torch.empty(rows, width, dtype=kind or like.dtype, device=like.device)
    scales = torch.empty(rows, 1, dtype=torch.float32, device=like.device) if kind else out
    return out, scales


def _result(out: Tensor, scales: Tensor, kind: torch.dtype | None) -> Any:
    return Rounded(out, scales) if kind else out


def norm(
    x: Tensor,
    scale: Tensor,
    shift: Tensor | None = None,
    change: Tensor | None = None,
    gate: Tensor | None = None,
    *,
    layer: bool = False,
    kind: torch.dtype | None = None,
) -> Any:
    """Add ``change`` (times ``gate``) to the rows x (M, N) in place, and return them normalised.

    Root-mean-square norm, or LayerNorm where ``layer``; scale, shift and gate are (N,) for all rows.
    ``kind``: float8_e4m3fn or int8 for ``Rounded`` rows, else they have x's type.
    """
    rows, width = x.shape
    out, scales = _target(x, rows, width, kind)
    block = triton.next_power_of_2(width)
    _norm[(rows,)](
        x,
        x if change is None else change,
        x if gate is None else gate,
        scale,
        scale if shift is None else shift,
        out,
        scales,
        width,
        EPS=EPSILON,
        LAYER=layer,
        CHANGE=change is not None,
        GATE=gate is not None,
        SHIFT=shift is not None,
        LARGEST=LARGEST[kind] if kind else 0.0,
        BLOCK=block,
        num_warps=_warps(block),
        **launch(x.device),
    )
    return _result(out, scales, kind)


def gelu(hidden: Tensor, *, gated: bool, kind: torch.dtype | None = None) -> Any:
    """Return GELU (tanh approximation) of rows (M, N); gated: of the first half times the second, (M, N / 2)."""
    rows, width = hidden.shape
    width = width // 2 if gated else width
    out, scales = _target(hidden, rows, width, kind)
    block = triton.next_power_of_2(width) if kind else _PIECE
    _gelu[rows, triton.cdiv(width, block)](
        hidden,
        out,
        scales,
        width,
        GATED=gated,
        LARGEST=LARGEST[kind] if kind else 0.0,
        BLOCK=block,
        num_warps=_warps(block),
        **launch(hidden.device),
    )
    return _result(out, scales, kind)


def rounded(x: Tensor, kind: torch.dtype | None) -> Any:
    """Return rows x (M, N) as ``Rounded``; as they are where there is no kind."""
    if kind is None:
        return x
    rows, width = x.shape
    out, scales = _target(x, rows, width, kind)
    block = triton.next_power_of_2(width)
    _round[(rows,)](
        x, out, scales, width, LARGEST=LARGEST[kind], BLOCK=block, num_warps=_warps(block), **launch(x.device)
    )
    return Rounded(out, scales)


def rotate_and_store(
    qkv: Tensor, keys: Tensor, values: Tensor, table: Tensor, lengths: Tensor, tokens: int, before: int
) -> None:
    """Rotate the queries in qkv (B * tokens, (heads + 2) * head size) in place; put keys and values away.

    Args:
        qkv: rows of queries, one key, one value.
        keys: (B, slots, head size), written from slot ``before`` on; values alike.
        table: (positions, head size) float32, half cosines and half sines.
        lengths: (B,) int32, the first position of each sample's tokens where ``before`` is not 0.
        tokens: rows a sample.
        before: the first slot to write; 0 for the prefix, whose positions start at 0.
    """
    size = table.shape[1]
    heads = qkv.shape[1] // size - 2
    _rotate[(qkv.shape[0],)](
        qkv,
        keys,
        values,
        table,
        lengths,
        tokens,
        before,
        keys.shape[1],
        OWN=before > 0,
        HEADS=heads,
        BLOCK_HEADS=triton.next_power_of_2(max(heads, 1)),
        HALF=size // 2,
        num_warps=4,
        **launch(qkv.device),
    )
