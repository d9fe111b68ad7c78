"""The kernels of ``flow_step.cu`` for one model: a flow step of few rows, which Hopper GPUs and later can run."""

from functools import cache
from importlib.resources import files
from typing import NamedTuple

import torch
from torch import Tensor

from headless_eval.policies.pi0.config import Pi0Config
from headless_eval.policies.pi0.engine.fused.nvrtc import Module, compile_source

MOST_ROWS = 64  # beyond, a library's products are faster
CAPABILITY = (9, 0)
_THREADS, _WARPS, _SHARERS = 256, 8, 8
_SHARED_LIMIT = 226 * 1024
_TYPES = {torch.bfloat16: 0, torch.float16: 1, torch.float32: 2}
_WEIGHTS = {torch.float8_e4m3fn: 1, torch.int8: 2}


class Weight(NamedTuple):
    """A weight (out, in), and for eight bits its outputs' scales (out,) float32."""

    values: Tensor
    scales: Tensor | None = None


def fits(config: Pi0Config) -> bool:
    """Return whether the kernels' shares divide the model's sizes."""
    of = config.expert
    warps = _WARPS * 32
    return (
        of.num_kv_heads == 1
        and of.head_dim % 128 == 0
        and all(size % warps == 0 for size in (of.width, of.mlp_dim, of.num_heads * of.head_dim))
        and config.action_dim % 8 == 0
        and config.action_dim <= 64
    )


def _keys(slots: int) -> int:
    """Return how many keys each of a head's programs has."""
    return -(-slots // (16 * _SHARERS)) * 16


@cache
def _code(macros: tuple[tuple[str, int], ...], capability: tuple[int, int]) -> bytes:
    source = files(__package__).joinpath("flow_step.cu").read_text(encoding="utf-8")
    return compile_source(source, dict(macros), capability)


class FlowStep:
    """The kernels for suffixes of one length on prefixes of one length.

    Args:
        config: the model's.
        dtype: of rows and arithmetic.
        kind: of the weights, if it is another: float8_e4m3fn or int8.
        prefix: slots of the prefix.
        batch: samples.
        device: the GPU, the current one.
    """

    def __init__(
        self,
        config: Pi0Config,
        dtype: torch.dtype,
        kind: torch.dtype | None,
        prefix: int,
        batch: int,
        device: torch.device,
    ):
        of = config.expert
        self.batch, self.prefix, self.width, self.heads = batch, prefix, of.width, of.num_heads
        self.tokens = config.action_horizon + (not config.pi05)
        self.rows, self.has_state = batch * self.tokens, not config.pi05
        macros = {
            "TYPE": _TYPES[dtype],
            "WEIGHT": 0 if kind is None else _WEIGHTS[kind],
            "WIDTH": of.width,
            "MLP": of.mlp_dim,
            "HEADS": of.num_heads,
            "SIZE": of.head_dim,
            "DIM": config.action_dim,
            "KEYS": _keys(prefix + self.tokens),
        }
        module = Module(_code(tuple(macros.items()), torch.cuda.get_device_capability(device)))
        self._factor = of.head_dim**-0.5 * 1.4426950408889634
        names = ("norm_qkv", "attend", "add_attention", "norm_gate_up", "add_mlp", "finish")
        shared = module.integers("shared_bytes", len(names))
        kernels = [module.kernel(name, of) for name, of in zip(names, shared, strict=True)]
        self._norm_qkv, self._attend, self._add_attention = kernels[:3]
        self._norm_gate_up, self._add_mlp, self._finish = kernels[3:]
        self._qkv_programs = (of.num_heads + 2) * of.head_dim // 16
        self._gate_programs = of.mlp_dim // (8 if dtype == torch.float32 else 32)
        like = torch.empty(0, dtype=dtype, device=device)
        self.q = like.new_empty(self.rows, of.num_heads * of.head_dim)
        self.mixed = torch.empty_like(self.q)
        self.hidden = like.new_empty(self.rows, of.mlp_dim)

    @staticmethod
    def possible(config: Pi0Config, dtype: torch.dtype, prefix: int, batch: int) -> bool:
        """Return whether there are few enough rows, and keys that fit into shared memory."""
        tokens = config.action_horizon + (not config.pi05)
        # Keys, values and queries, their weights and sums.
        head, keys = config.expert.head_dim, _keys(prefix + tokens)
        shared = (keys * (2 * head + 8) + 16 * (head + 8)) * dtype.itemsize + 64 * (keys + 8 + head) + 128
        return batch * tokens <= MOST_ROWS and shared <= _SHARED_LIMIT and fits(config)

    def layer(
        self,
        x: Tensor,
        scales: Tensor,
        biases: tuple[Tensor, Tensor],
        gates: Tensor,
        weights: tuple[Weight, Weight, Weight, Weight],
        keys: Tensor,
        values: Tensor,
        table: Tensor,
        lengths: Tensor,
    ) -> None:
        """Run one layer on the rows x (B * tokens, width), in place.

        Args:
            x: the suffix's tokens.
            scales: (2, width), what multiplies the normalised rows before attention and before the MLP.
            biases: what the norms' shifts become in the products after them, (out,) float32 each.
            gates: (2, width), what multiplies attention's and the MLP's results.
            weights: of queries with keys and values, attention's output, gates with ups, and down.
            keys: (B, slots, head size), the suffix's own behind the prefix; values alike.
            values: see keys.
            table: (positions, head size) float32, half cosines and half sines.
            lengths: (B,) int32, how many of the prefix's slots count.
        """
        qkv, out, gate_up, down = weights
        slots = keys.shape[1]
        self._norm_qkv(
            (self._qkv_programs,), _THREADS, x, scales[0], biases[0], *qkv, self.q, keys, values, table,
            lengths, self.rows, self.tokens, self.prefix, slots,
        )  # fmt: skip
        self._attend(
            (_SHARERS, self.heads, self.batch), _THREADS, self.q, keys, values, self.mixed, lengths,
            self.tokens, self.prefix, slots, int(self.has_state), self._factor,
        )  # fmt: skip
        programs = (self.width // 8,)
        self._add_attention(programs, _THREADS, self.mixed, *out, gates[0], x, self.rows)
        self._norm_gate_up(
            (self._gate_programs,), _THREADS, x, scales[1], biases[1], *gate_up, self.hidden, self.rows
        )
        self._add_mlp(programs, _THREADS, self.hidden, *down, gates[1], x, self.rows)

    def finish(
        self,
        x: Tensor,
        scale: Tensor,
        bias: Tensor,
        out: Tensor,
        x_t: Tensor,
        x_t_next: Tensor,
        action_in: tuple[Tensor, Tensor],
        following: Tensor,
        change: float,
    ) -> None:
        """Take a π0.5 step's velocity from its last rows x, and from that the actions and the next step's rows.

        Args:
            x: the last layer's rows (B * tokens, width).
            scale: (width,), what multiplies them normalised.
            bias: (action dim,) float32, the projection's and what the norm's shift becomes in it.
            out: weight (action dim, width) of the projection to the velocity.
            x_t: noisy actions (B, H, action dim) float32.
            x_t_next: where the next ones go.
            action_in: weight and float32 bias of the projection of noisy actions to tokens.
            following: where the next step's rows go.
            change: how far the step goes.
        """
        weight, added = action_in
        self._finish(
            (self.width // 8,), _THREADS, x, scale, bias, out, x_t, x_t_next, weight, added, following,
            self.rows, change,
        )  # fmt: skip
