"""A Triton kernel for attention without a materialised mask: the prefix, and the suffix on top of it.

All heads share one key and value head. Of a sample's prefix the first ``lengths`` slots count; the suffix attends to
them and to itself.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from headless_eval.policies.pi0.engine.fused.kernels_rows import launch


@triton.jit
def _scores_to_sum(
    q, k, v, valid, most, total, acc, SCALE: tl.constexpr, PRECISION: tl.constexpr, AS: tl.constexpr
):
    scores = tl.dot(q, tl.trans(k), input_precision=PRECISION) * SCALE
    scores = tl.where(valid, scores, -1e30)
    now = tl.maximum(most, tl.max(scores, 1))
    weights = tl.where(valid, tl.exp2(scores - now[:, None]), 0.0)
    fade = tl.exp2(most - now)
    total = total * fade + tl.sum(weights, 1)
    acc = acc * fade[:, None]
    acc = tl.dot(weights.to(AS), v, acc, input_precision=PRECISION)
    return now, total, acc


@triton.jit
def _attend(
    q,
    keys,
    values,
    out,
    lengths,
    tokens,
    row_stride,
    slots,
    before,
    SCALE: tl.constexpr,
    HEADS: tl.constexpr,
    SIZE: tl.constexpr,
    OWN: tl.constexpr,
    STATE: tl.constexpr,
    ROWS: tl.constexpr,
    COLS: tl.constexpr,
    PRECISION: tl.constexpr,
    EARLY: tl.constexpr,
):
    if EARLY:
        tl.extra.cuda.gdc_wait()
    block, head, sample = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    AS: tl.constexpr = keys.dtype.element_ty
    rows = block * ROWS + tl.arange(0, ROWS)
    there = rows < tokens
    size = tl.arange(0, SIZE)
    place = (sample * tokens + rows).to(tl.int64)[:, None]
    query = tl.load(q + place * row_stride + head * SIZE + size[None, :], mask=there[:, None], other=0.0)
    most = tl.full([ROWS], -1e30, tl.float32)
    total = tl.zeros([ROWS], tl.float32)
    acc = tl.zeros([ROWS, SIZE], tl.float32)
    base = sample.to(tl.int64) * slots * SIZE
    end = tl.load(lengths + sample)
    for start in tl.range(0, end, COLS):
        cols = start + tl.arange(0, COLS)
        inside = cols < end
        at = base + cols[:, None] * SIZE + size[None, :]
        k = tl.load(keys + at, mask=inside[:, None], other=0.0)
        v = tl.load(values + at, mask=inside[:, None], other=0.0)
        most, total, acc = _scores_to_sum(
            query, k, v, inside[None, :], most, total, acc, SCALE, PRECISION, AS
        )
    if OWN > 0:
        for start in tl.range(0, tokens, OWN):
            cols = start + tl.arange(0, OWN)
            inside = cols < tokens
            at = base + (before + cols[:, None]) * SIZE + size[None, :]
            k = tl.load(keys + at, mask=inside[:, None], other=0.0)
            v = tl.load(values + at, mask=inside[:, None], other=0.0)
            valid = inside[None, :] & (rows[:, None] >= 0)
            if STATE:  # the state's token sees no actions
                valid = valid & ((rows[:, None] > 0) | (cols[None, :] == 0))
            most, total, acc = _scores_to_sum(query, k, v, valid, most, total, acc, SCALE, PRECISION, AS)
    acc = acc / total[:, None]
    tl.store(out + place * (HEADS * SIZE) + head * SIZE + size[None, :], acc.to(AS), mask=there[:, None])


def attend(
    q: Tensor,
    keys: Tensor,
    values: Tensor,
    lengths: Tensor,
    heads: int,
    tokens: int,
    prefix: int,
    *,
    own: bool,
    state: bool = False,
) -> Tensor:
    """Attend with the rows of queries.

    Args:
        q: (B * tokens, at least heads * head size).
        keys: (B, slots, head size); values alike.
        values: see keys.
        lengths: (B,) int32, how many of the prefix's slots count.
        heads: of the queries.
        tokens: queries a sample.
        prefix: slots of the prefix.
        own: the queries are the suffix's, whose own keys and values lie behind the prefix; else the prefix's.
        state: the suffix's first token is the state's.

    Returns:
        (B * tokens, heads * head size).
    """
    batch, slots, size = keys.shape
    rows = min(64, max(16, triton.next_power_of_2(tokens)))
    cols = 64
    if keys.dtype == torch.float32:
        rows, cols = min(rows, 32), 32
    out = q.new_empty(batch * tokens, heads * size)
    _attend[triton.cdiv(tokens, rows), heads, batch](
        q,
        keys,
        values,
        out,
        lengths,
        tokens,
        q.stride(0),
        slots,
        prefix,
        SCALE=size**-0.5 * 1.4426950408889634,
        HEADS=heads,
        SIZE=size,
        OWN=rows if own else 0,
        STATE=state,
        ROWS=rows,
        COLS=cols,
        PRECISION="ieee" if q.dtype == torch.float32 else "tf32",
        num_warps=4,
        num_stages=2,
        **launch(q.device),
    )
    return out
