"""A Triton kernel for products of eight-bit integers with a scale for every row and every output."""

import torch
import triton
import triton.language as tl
from torch import Tensor


@triton.jit
def _scaled(
    a,
    a_scales,
    w,
    w_scales,
    bias,
    out,
    M,
    N,
    K,
    BIAS: tl.constexpr,
    ROWS: tl.constexpr,
    COLS: tl.constexpr,
    STEP: tl.constexpr,
    GROUP: tl.constexpr,
):
    # Programs of a few blocks of rows run side by side, so that they find one another's weights in the cache.
    blocks, across = tl.cdiv(M, ROWS), tl.cdiv(N, COLS)
    program = tl.program_id(0)
    group = program // (GROUP * across)
    high = tl.minimum(blocks - group * GROUP, GROUP)
    inside = program % (GROUP * across)
    rows = (group * GROUP + inside % high) * ROWS + tl.arange(0, ROWS)
    cols = (inside // high) * COLS + tl.arange(0, COLS)
    k = tl.arange(0, STEP)
    a_at = a + (rows % M).to(tl.int64)[:, None] * K + k[None, :]
    w_at = w + (cols % N).to(tl.int64)[:, None] * K + k[None, :]
    acc = tl.zeros([ROWS, COLS], tl.int32)
    for start in tl.range(0, K, STEP):
        there = (start + k < K)[None, :]
        acc += tl.dot(tl.load(a_at, mask=there, other=0), tl.trans(tl.load(w_at, mask=there, other=0)))
        a_at += STEP
        w_at += STEP
    inner = cols < N
    y = acc.to(tl.float32) * tl.load(a_scales + rows % M)[:, None]
    y *= tl.load(w_scales + cols, mask=inner, other=0.0)[None, :]
    if BIAS:
        y += tl.load(bias + cols, mask=inner, other=0.0).to(tl.float32)[None, :]
    at = out + rows.to(tl.int64)[:, None] * N + cols[None, :]
    tl.store(at, y.to(out.dtype.element_ty), mask=(rows < M)[:, None] & inner[None, :])


def scaled_product(
    a: Tensor, a_scales: Tensor, w: Tensor, w_scales: Tensor, bias: Tensor | None, dtype: torch.dtype
) -> Tensor:
    """Return rows a (M, K) int8 times w (N, K) int8, scaled by (M, 1) and (N,) float32, as (M, N) of ``dtype``."""
    rows, depth = a.shape
    outs = w.shape[0]
    out = torch.empty(rows, outs, dtype=dtype, device=a.device)
    block = 128 if rows > 64 else 64
    wide = 256 if rows > 64 and outs >= 8192 else 128 if outs >= 4096 or rows > 1024 else 64
    grid = (triton.cdiv(rows, block) * triton.cdiv(outs, wide),)
    _scaled[grid](
        a,
        a_scales,
        w,
        w_scales,
        a_scales if bias is None else bias,
        out,
        rows,
        outs,
        depth,
        BIAS=bias is not None,
        ROWS=block,
        COLS=wide,
        STEP=128,
        GROUP=8,
        num_warps=8 if wide == 256 else 4,
        num_stages=3,
    )
    return out
