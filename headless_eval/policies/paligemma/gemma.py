"""Gemma: the language model, read for its keys and values, and the expert that attends to them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from headless_eval.policies.paligemma.config import GemmaConfig

_EPSILON = 1e-6
_ROPE_BASE = 10_000.0


class KeysValues(NamedTuple):
    """What one layer's tokens offer to attention: both (B, kv heads, tokens, head size), keys rotated."""

    keys: Tensor
    values: Tensor


class Rotation(NamedTuple):
    """Cosines and signed sines of rotary embeddings, both (B or 1, tokens, 1, head size) float32."""

    cos: Tensor
    sin: Tensor


class Modulation(NamedTuple):
    """What adaptive RMSNorm does to its layer: scale (one already added), shift and gate, (N, 1, width)."""

    scale: Tensor
    shift: Tensor
    gate: Tensor


def rotation(positions: Tensor, head_dim: int, base: float = _ROPE_BASE) -> Rotation:
    """Return the rotary tables of integer positions (B, tokens); the base is also called theta."""
    pairs = torch.arange(0, head_dim, 2, device=positions.device, dtype=torch.float32) / head_dim
    angles = positions[..., None].float() / base**pairs
    cos, sin = angles.cos(), angles.sin()
    return Rotation(torch.cat([cos, cos], -1)[:, :, None], torch.cat([-sin, sin], -1)[:, :, None])


def rotate(x: Tensor, by: Rotation) -> Tensor:
    """Rotate the pairs (i, i + head size / 2) of x (B, tokens, heads, head size); float32 or wider inside."""
    return torch.addcmul(x * by.cos, x.roll(x.shape[-1] // 2, -1), by.sin)


def grouped_attention(
    queries: Tensor, stored: KeysValues, mask: Tensor | None, logit_cap: float | None = None
) -> Tensor:
    """Attend with the heads of a group as rows of one matrix, so that keys and values are never repeated.

    Args:
        queries: (B, tokens, heads, head size).
        stored: keys and values of all tokens attended to.
        mask: as ``attention_mask`` makes it; None where every token attends to every token.
        logit_cap: what the size of a logit approaches but never reaches, by a tanh; None: any size.

    Returns:
        (B, tokens, heads * head size).
    """
    batch, tokens, heads, size = queries.shape
    kv_heads = stored.keys.shape[1]
    group = heads // kv_heads
    rows = queries.unflatten(2, (kv_heads, group)).permute(0, 2, 3, 1, 4).reshape(batch, kv_heads, -1, size)
    if logit_cap is None:
        out = F.scaled_dot_product_attention(rows, stored.keys, stored.values, attn_mask=mask)
    else:
        out = _capped_attention(rows, stored, mask, logit_cap)
    return out.unflatten(2, (group, tokens)).permute(0, 3, 1, 2, 4).reshape(batch, tokens, heads * size)


def _capped_attention(rows: Tensor, stored: KeysValues, mask: Tensor | None, cap: float) -> Tensor:
    """Attend with logits ``cap * tanh(logit / cap)``, in float32 up to the probabilities."""
    logits = (rows @ stored.keys.transpose(-1, -2)).float() * rows.shape[-1] ** -0.5
    logits = cap * torch.tanh(logits / cap)
    if mask is not None:
        logits = logits + mask
    return logits.softmax(-1).to(stored.values.dtype) @ stored.values


def attention_mask(allowed: Tensor, config: GemmaConfig, dtype: torch.dtype) -> Tensor:
    """Turn bool (B, tokens or 1, stored tokens) into what ``grouped_attention`` adds to its scores.

    Made once and read by every layer: (B, 1, group * tokens or 1, stored tokens), 0 or minus infinity.
    """
    group = config.num_heads // config.num_kv_heads if allowed.shape[1] > 1 else 1
    scores = torch.zeros(allowed.shape, dtype=dtype, device=allowed.device)
    return scores.masked_fill(~allowed, float("-inf")).repeat(1, group, 1)[:, None]


def _unit_rms(x: Tensor) -> Tensor:
    """Scale the last dimension to a root mean square of one."""
    if x.is_cuda:
        return F.rms_norm(x, x.shape[-1:], eps=_EPSILON)
    # There F.rms_norm is one kernel; on a CPU it is a dozen, and norms were a tenth of a small model's time.
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
    return (x * norm.square().div_(x.shape[-1]).add_(_EPSILON).rsqrt_()).to(x.dtype)


class RMSNorm(nn.Module):
    """Root-mean-square norm whose weight is kept as its distance from one, as Gemma keeps it."""

    def __init__(self, width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor, modulation: None = None) -> Tensor:
        """Normalise the last dimension; there is nothing to modulate."""
        x = _unit_rms(x)
        return torch.addcmul(x, x, self.weight)


class AdaptiveRMSNorm(nn.Module):
    """Root-mean-square norm whose scale, shift and gate come from a condition (π0.5's flow time)."""

    def __init__(self, width: int):
        super().__init__()
        self.dense = nn.Linear(width, 3 * width)

    def modulation(self, condition: Tensor) -> Modulation:
        """Map conditions (N, width) to what they do to the layer."""
        scale, shift, gate = self.dense(condition)[:, None].chunk(3, dim=-1)
        return Modulation(1 + scale, shift, gate)

    def forward(self, x: Tensor, modulation: Modulation) -> Tensor:
        """Normalise the last dimension of x (B, tokens, width)."""
        return torch.addcmul(modulation.shift, _unit_rms(x), modulation.scale)


def _residual(x: Tensor, change: Tensor, modulation: Modulation | None) -> Tensor:
    return x + change if modulation is None else torch.addcmul(x, change, modulation.gate)


class GemmaAttention(nn.Module):
    """Attention with rotary positions; ``keys_only`` leaves out what no one reads in a last prefix layer."""

    def __init__(self, config: GemmaConfig, keys_only: bool = False, logit_cap: float | None = None):
        super().__init__()
        self.logit_cap = logit_cap
        self.num_heads = config.num_heads
        self.num_kv_heads = config.num_kv_heads
        self.head_dim = config.head_dim
        if not keys_only:
            self.q_proj = nn.Linear(config.width, config.num_heads * config.head_dim, bias=False)
            self.o_proj = nn.Linear(config.num_heads * config.head_dim, config.width, bias=False)
        self.k_proj = nn.Linear(config.width, config.num_kv_heads * config.head_dim, bias=False)
        self.v_proj = nn.Linear(config.width, config.num_kv_heads * config.head_dim, bias=False)

    def keys_values(self, x: Tensor, by: Rotation) -> KeysValues:
        """Return what tokens (B, tokens, width) offer to attention."""
        keys = rotate(self.k_proj(x).unflatten(-1, (-1, self.head_dim)), by)
        return self._stored(keys, self.v_proj(x))

    def forward(
        self, x: Tensor, by: Rotation, mask: Tensor | None, before: KeysValues | None
    ) -> tuple[Tensor, KeysValues]:
        """Let tokens attend to ``before`` and to themselves; return also their own keys and values."""
        # Queries and keys are rotated as one: small kernels cost their number, not their size.
        rotated = rotate(
            torch.cat([self.q_proj(x), self.k_proj(x)], -1).unflatten(-1, (-1, self.head_dim)), by
        )
        queries, keys = rotated.split([self.num_heads, self.num_kv_heads], dim=2)
        stored = own = self._stored(keys, self.v_proj(x))
        if before is not None:
            stored = KeysValues(
                torch.cat([before.keys, own.keys], 2), torch.cat([before.values, own.values], 2)
            )
        attended = grouped_attention(queries.to(own.values.dtype), stored, mask, self.logit_cap)
        return self.o_proj(attended), own

    def _stored(self, keys: Tensor, values: Tensor) -> KeysValues:
        values = values.unflatten(-1, (-1, self.head_dim))
        return KeysValues(keys.to(values.dtype).transpose(1, 2), values.transpose(1, 2))


class GemmaMlp(nn.Module):
    """Gated MLP."""

    def __init__(self, config: GemmaConfig):
        super().__init__()
        self.gate_proj = nn.Linear(config.width, config.mlp_dim, bias=False)
        self.up_proj = nn.Linear(config.width, config.mlp_dim, bias=False)
        self.act_fn = nn.GELU(approximate="tanh")
        self.down_proj = nn.Linear(config.mlp_dim, config.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, tokens, width) to the same shape."""
        return self.down_proj(self.act_fn(self.gate_proj(x)) * self.up_proj(x))


class GemmaLayer(nn.Module):
    """One pre-norm transformer layer, with adaptive norms for π0.5's expert."""

    def __init__(
        self,
        config: GemmaConfig,
        adaptive: bool = False,
        keys_only: bool = False,
        logit_cap: float | None = None,
    ):
        super().__init__()
        norm = AdaptiveRMSNorm if adaptive else RMSNorm
        self.input_layernorm = norm(config.width)
        self.self_attn = GemmaAttention(config, keys_only, logit_cap)
        if not keys_only:
            self.post_attention_layernorm = norm(config.width)
            self.mlp = GemmaMlp(config)

    def keys_values(self, x: Tensor, by: Rotation) -> KeysValues:
        """Return only what the tokens offer to attention."""
        return self.self_attn.keys_values(self.input_layernorm(x), by)

    def forward(
        self,
        x: Tensor,
        by: Rotation,
        mask: Tensor | None,
        before: KeysValues | None = None,
        modulations: tuple[Modulation | None, Modulation | None] = (None, None),
    ) -> tuple[Tensor, KeysValues]:
        """Map tokens (B, tokens, width) to the same shape and their keys and values."""
        of_attention, of_mlp = modulations
        change, own = self.self_attn(self.input_layernorm(x, of_attention), by, mask, before)
        x = _residual(x, change, of_attention)
        return _residual(x, self.mlp(self.post_attention_layernorm(x, of_mlp)), of_mlp), own


class LanguageModel(nn.Module):
    """The prefix's side of the shared attention: it is read for its keys and values, and never generates.

    So there is no output head, and the last layer holds its key and value projections alone.
    """

    def __init__(self, config: GemmaConfig, vocab_size: int, logit_cap: float | None = None):
        super().__init__()
        # Left undrawn: the model draws all its weights itself, or reads them.
        rows = torch.empty(vocab_size, config.width)
        self.embed_tokens = nn.Embedding.from_pretrained(rows, freeze=False)
        last = config.depth - 1
        self.layers = nn.ModuleList(
            GemmaLayer(config, keys_only=index == last, logit_cap=logit_cap) for index in range(config.depth)
        )

    def forward(self, x: Tensor, by: Rotation, mask: Tensor | None) -> list[KeysValues]:
        """Return every layer's keys and values for embedded tokens (B, tokens, width)."""
        prefix = []
        layers: list[Any] = list(self.layers)
        for layer in layers[:-1]:
            x, own = layer(x, by, mask)
            prefix.append(own)
        return [*prefix, layers[-1].keys_values(x, by)]


class ActionExpert(nn.Module):
    """The suffix's side of the shared attention: state and noisy actions, attending to the prefix."""

    def __init__(self, config: GemmaConfig, adaptive: bool, logit_cap: float | None = None):
        super().__init__()
        self.layers = nn.ModuleList(
            GemmaLayer(config, adaptive, logit_cap=logit_cap) for _ in range(config.depth)
        )
        self.norm = AdaptiveRMSNorm(config.width) if adaptive else RMSNorm(config.width)

    def modulations(self, condition: Tensor) -> list[Modulation]:
        """Map conditions (N, width) to two modulations a layer and the final norm's (adaptive only)."""
        norms: list[Any] = []
        for layer in self.layers:
            norms += [layer.input_layernorm, layer.post_attention_layernorm]
        return [norm.modulation(condition) for norm in [*norms, self.norm]]

    def forward(
        self,
        x: Tensor,
        by: Rotation,
        mask: Tensor | None,
        prefix: Sequence[KeysValues],
        modulations: Sequence[Modulation] | None,
    ) -> Tensor:
        """Map embedded suffix tokens (B, tokens, width) to the same shape."""
        for index, (layer, before) in enumerate(zip(self.layers, prefix, strict=True)):
            pair = (None, None) if modulations is None else modulations[2 * index : 2 * index + 2]
            x, _ = layer(x, by, mask, before, pair)
        return self.norm(x, None if modulations is None else modulations[-1])
