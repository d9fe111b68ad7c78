"""The model's layers as functions of tensors alone, for a compiler: one function for all layers of a kind.

They compute what the modules of ``pi0.model`` do, with joint projections (queries, keys and values; gate and up),
and with keys and values in one place that prefix and suffix write to. ``q`` rounds what the module of the given role
would put out.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from headless_eval.policies.paligemma.config import GemmaConfig
from headless_eval.policies.paligemma.gemma import attention_mask, rotation
from headless_eval.policies.pi0.config import Pi0Config
from headless_eval.policies.pi0.engine.compiled.rounding import Rounding

_EPSILON = 1e-6


def patches(
    q: Rounding, config: Pi0Config, images: Tensor, weight: Tensor, bias: Tensor, at: Tensor
) -> Tensor:
    """Map images (N, 3, h, w) to embedded patches (N, P, W): the convolution as one matrix product."""
    side = config.siglip.patch_size
    grid = images.shape[-1] // side
    x = images.unflatten(3, (grid, side)).unflatten(2, (grid, side)).permute(0, 2, 4, 1, 3, 5)
    x = F.linear(x.reshape(len(images), grid * grid, -1), weight.flatten(1), bias)
    return q("patches", x) + q("positions", at[None])


def vision_layer(
    q: Rounding,
    config: Pi0Config,
    x: Tensor,
    norm1: Tensor,
    shift1: Tensor,
    qkv: Tensor,
    qkv_bias: Tensor,
    out: Tensor,
    out_bias: Tensor,
    norm2: Tensor,
    shift2: Tensor,
    fc1: Tensor,
    fc1_bias: Tensor,
    fc2: Tensor,
    fc2_bias: Tensor,
) -> Tensor:
    """Map (N, P, W) to the same shape."""
    width = x.shape[-1:]
    y = q("norm1", F.layer_norm(x, width, norm1, shift1, _EPSILON))
    parts = F.linear(y, qkv, qkv_bias).chunk(3, dim=-1)
    heads = [
        q(role, part).unflatten(-1, (config.siglip.num_heads, -1)).transpose(1, 2)
        for role, part in zip(("query", "key", "value"), parts, strict=True)
    ]
    mixed = F.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)
    x = x + q("out", F.linear(mixed, out, out_bias))
    y = q("norm2", F.layer_norm(x, width, norm2, shift2, _EPSILON))
    y = q("activation", F.gelu(q("up", F.linear(y, fc1, fc1_bias)), approximate="tanh"))
    return x + q("down", F.linear(y, fc2, fc2_bias))


def seen(
    q: Rounding, config: Pi0Config, x: Tensor, norm: Tensor, shift: Tensor, weight: Tensor, bias: Tensor
) -> Tensor:
    """Map the vision tower's tokens (N, P, W) to those of the language model."""
    y = q("vision_norm", F.layer_norm(x, x.shape[-1:], norm, shift, _EPSILON))
    return q("projector", F.linear(y, weight, bias))


def prompt(q: Rounding, config: Pi0Config, tokens: Tensor, table: Tensor) -> Tensor:
    """Map tokens (B, T) to embedded ones."""
    return q("words", F.embedding(tokens, table)) * math.sqrt(config.gemma.width)


def around_prefix(config: Pi0Config, mask: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Return the prefix's rotary tables and what is added to its scores, for its mask (B, L)."""
    cos, sin = rotation(mask.cumsum(dim=1) - 1, config.gemma.head_dim)
    return cos, sin, attention_mask(mask[:, None], config.gemma, dtype)


def around_suffix(config: Pi0Config, mask: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Return the suffix's rotary tables and what is added to its scores, for the prefix's mask (B, L)."""
    tokens = suffix_tokens(config)
    positions = mask.sum(dim=1, keepdim=True) + torch.arange(tokens, device=mask.device)
    number = torch.arange(tokens, device=mask.device)
    # π0's first token, the state's, attends to none of the others.
    own = (number[:, None] > 0) | (number[None] == 0) if not config.pi05 else number[:, None] >= 0
    batch, before = mask.shape
    allowed = torch.cat(
        [mask[:, None].expand(batch, tokens, before), own.expand(batch, tokens, tokens)], dim=-1
    )
    cos, sin = rotation(positions, config.expert.head_dim)
    return cos, sin, attention_mask(allowed, config.expert, dtype)


def suffix_tokens(config: Pi0Config) -> int:
    """Return how many tokens the action expert has: the horizon's, and π0's state."""
    return config.action_horizon + (not config.pi05)


def prefix_layer(
    q: Rounding,
    config: Pi0Config,
    x: Tensor,
    cos: Tensor,
    sin: Tensor,
    mask: Tensor,
    keys: Tensor,
    values: Tensor,
    norm1: Tensor,
    qkv: Tensor,
    out: Tensor,
    norm2: Tensor,
    gate_up: Tensor,
    down: Tensor,
) -> Tensor:
    """Map tokens (B, L, W) to the same shape, leaving their keys and values in the first L places."""
    y = q("norm1", _norm(x, norm1))
    queries = _attend_to(q, config.gemma, F.linear(y, qkv), cos, sin, keys, values, 0)
    places = x.shape[1]
    mixed = attention(queries, keys[:, :, :places], values[:, :, :places], mask)
    x = x + q("out", F.linear(mixed, out))
    return x + _mlp(q, q("norm2", _norm(x, norm2)), gate_up, down)


def prefix_end(
    q: Rounding,
    config: Pi0Config,
    x: Tensor,
    cos: Tensor,
    sin: Tensor,
    keys: Tensor,
    values: Tensor,
    norm1: Tensor,
    kv: Tensor,
) -> None:
    """Leave the keys and values of the last layer's tokens (B, L, W) in the first L places."""
    y = q("norm1", _norm(x, norm1))
    _attend_to(q, config.gemma, F.linear(y, kv), cos, sin, keys, values, 0)


def expert_layer(
    q: Rounding,
    config: Pi0Config,
    x: Tensor,
    cos: Tensor,
    sin: Tensor,
    mask: Tensor,
    keys: Tensor,
    values: Tensor,
    qkv: Tensor,
    out: Tensor,
    gate_up: Tensor,
    down: Tensor,
    *norms: Tensor,
) -> Tensor:
    """Map tokens (B, S, W) to the same shape; ``norms`` are two weights, or two times scale, shift and gate."""
    first, second = norms[: len(norms) // 2], norms[len(norms) // 2 :]
    y = _norm(x, *first[:2])
    y = y if config.pi05 else q("norm1", y)
    before = keys.shape[2] - x.shape[1]
    queries = _attend_to(q, config.expert, F.linear(y, qkv), cos, sin, keys, values, before)
    change = q("out", F.linear(attention(queries, keys, values, mask), out))
    x = _add(x, change, *first[2:])
    y = _norm(x, *second[:2])
    y = y if config.pi05 else q("norm2", y)
    return _add(x, _mlp(q, y, gate_up, down), *second[2:])


def state_token(q: Rounding, config: Pi0Config, state: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Map π0's state (B, A) to its token (B, 1, W)."""
    return q("state", F.linear(state, weight, bias))[:, None]


def step_begin(
    q: Rounding, config: Pi0Config, x_t: Tensor, weight: Tensor, bias: Tensor, *of_pi0: Tensor
) -> Tensor:
    """Map noisy actions (B, H, A) to the suffix's tokens; π0 also gives state, time and the weights that mix it in."""
    x = q("action_in", F.linear(x_t.to(weight.dtype), weight, bias))
    if config.pi05:
        return x
    state, time, mix_in, mix_in_bias, mix_out, mix_out_bias = of_pi0
    x = torch.cat([x, time.expand(x.shape)], dim=-1)
    x = F.silu(q("mix_in", F.linear(x, mix_in, mix_in_bias)))
    return torch.cat([state, q("mix_out", F.linear(x, mix_out, mix_out_bias))], dim=1)


def step_end(
    q: Rounding,
    config: Pi0Config,
    x: Tensor,
    x_t: Tensor,
    steps: Tensor,
    weight: Tensor,
    bias: Tensor,
    *norm: Tensor,
) -> Tensor:
    """Follow the velocity that the suffix's tokens (B, S, W) tell for one of so many steps."""
    y = _norm(x, *norm[:2])
    y = y if config.pi05 else q("expert_norm", y)
    velocity = q("action_out", F.linear(y[:, -config.action_horizon :], weight, bias))
    return x_t - velocity.to(torch.float32) / steps


def _norm(x: Tensor, weight: Tensor, shift: Tensor | None = None) -> Tensor:
    wide = x.to(torch.float32)
    unit = (wide * (wide.square().mean(dim=-1, keepdim=True) + _EPSILON).rsqrt()).to(x.dtype)
    return unit + unit * weight if shift is None else shift + unit * weight


def _add(x: Tensor, change: Tensor, gate: Tensor | None = None) -> Tensor:
    return x + change if gate is None else x + change * gate


def _attend_to(
    q: Rounding,
    config: GemmaConfig,
    projected: Tensor,
    cos: Tensor,
    sin: Tensor,
    keys: Tensor,
    values: Tensor,
    start: int,
) -> Tensor | None:
    """Write keys and values from place ``start`` on; return the rotated queries (B, tokens, heads, head size)."""
    size, stored = config.head_dim, config.num_kv_heads * config.head_dim
    asked, k, v = projected.split([projected.shape[-1] - 2 * stored, stored, stored], dim=-1)
    end = start + projected.shape[1]
    k = _rotate(q("key", k).unflatten(-1, (-1, size)), cos, sin)
    keys[:, :, start:end] = k.transpose(1, 2)
    values[:, :, start:end] = q("value", v).unflatten(-1, (-1, size)).transpose(1, 2)
    if not asked.shape[-1]:
        return None
    return _rotate(q("query", asked).unflatten(-1, (-1, size)), cos, sin)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    return (x * cos + x.roll(x.shape[-1] // 2, -1) * sin).to(x.dtype)


def attention(queries: Tensor | None, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    """Attend as ``grouped_attention`` does; returns (B, tokens, heads * head size)."""
    assert queries is not None
    batch, tokens, heads, size = queries.shape
    kv_heads = keys.shape[1]
    group = heads // kv_heads
    rows = queries.unflatten(2, (kv_heads, group)).permute(0, 2, 3, 1, 4).reshape(batch, kv_heads, -1, size)
    if queries.device.type == "cpu":
        out = F.scaled_dot_product_attention(rows, keys, values, attn_mask=mask)
    else:
        # A library's attention starts few blocks for the few rows of a flow step.
        scores = (rows * size**-0.5) @ keys.transpose(2, 3)
        out = (scores.to(torch.float32) + mask).softmax(dim=-1).to(values.dtype) @ values
    return out.unflatten(2, (group, tokens)).permute(0, 3, 1, 2, 4).reshape(batch, tokens, heads * size)


def _mlp(q: Rounding, x: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    gate, up = F.linear(x, gate_up).chunk(2, dim=-1)
    gate = q("activation", F.gelu(q("gate", gate), approximate="tanh"))
    return q("down", F.linear(gate * q("up", up), down))
