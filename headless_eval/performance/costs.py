"""What an inference has to compute and to move, counted by running the model without numbers; the least time of it.

Operations are those of matrix products, two a multiply-add, as ``torch.utils.flop_counter`` counts them on a model
on the meta device (attention is two products). So they hold for any model. Moved are the weights, once for every
time a part of the model runs, and what cannot stay in a cache: the pictures, and the keys and values between prefix
and flow steps.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from headless_eval.performance.components import component_of
from headless_eval.performance.spans import MODULATION, PREFIX, STEP, Span, watched

PARTS = (PREFIX, MODULATION, STEP)
"""What an observation needs once; what depends on the flow times alone; one Euler step."""


@dataclass(frozen=True)
class Cost:
    """What one module does itself, without its children, in one run of its part of the model.

    Args:
        module: its name.
        part: one of ``PARTS``.
        flops: operations of matrix products.
        weights: numbers of its parameters that are read.
        values: numbers of its inputs and outputs.
    """

    module: str
    part: str
    flops: int
    weights: int
    values: int

    @property
    def component(self) -> str:
        """Return the name of the component that it is in."""
        return component_of(self.module)


@dataclass(frozen=True)
class Costs:
    """What an inference costs.

    Args:
        modules: in the order of their calls; those that only move values have no row.
        moved: by part, the numbers between parts that no implementation can keep from memory.
    """

    modules: tuple[Cost, ...]
    moved: dict[str, int]

    def __iter__(self) -> Iterator[Cost]:
        return iter(self.modules)

    def __len__(self) -> int:
        return len(self.modules)


@dataclass(frozen=True)
class Speeds:
    """What a chip reaches: operations a second of matrix products, bytes a second of copies."""

    matrix: float
    memory: float

    def least_ms(self, flops: float, size: float) -> float:
        """Return the milliseconds that so many operations and bytes take at least, one beside the other."""
        return 1e3 * max(flops / self.matrix, size / self.memory)


@dataclass(frozen=True)
class Limit:
    """The least time of an inference, in milliseconds: of the prefix, of one flow step, of all."""

    prefix_ms: float
    step_ms: float
    total_ms: float


def limit_of(costs: Costs, speeds: Speeds, steps: int, weight_bytes: int, value_bytes: int) -> Limit:
    """Return the roofline's time. What depends on the flow times alone is known before the first observation.

    Args:
        costs: of one workload.
        speeds: of the chip.
        steps: flow steps.
        weight_bytes: what a weight of a matrix product takes in memory.
        value_bytes: what anything else takes.
    """

    def least(part: str) -> float:
        of = [cost for cost in costs if cost.part == part]
        size = weight_bytes * sum(cost.weights for cost in of) + value_bytes * costs.moved.get(part, 0)
        return speeds.least_ms(sum(cost.flops for cost in of), size)

    prefix, step = least(PREFIX), least(STEP)
    return Limit(prefix, step, prefix + steps * step)


def count(model: nn.Module, infer: Callable[[], Any]) -> Costs:
    """Return what every module of a model costs in one inference.

    Args:
        model: on the meta device, where tensors have shapes and no numbers.
        infer: makes one inference of that model.
    """
    with FlopCounterMode(display=False) as counter:
        tally = _Tally(model, counter)
        # Of attention, only the two products are counted by all backends alike.
        with sdpa_kernel(SDPBackend.MATH), _Attention(tally), watched(model, tally), suppress(_EnoughError):
            infer()
    return tally.costs()


class _EnoughError(Exception):
    """The first flow step has ended; the others cost the same."""


class _Tally:
    """Adds up what modules do; a ``Listener``. The operations counted so far are its clock."""

    def __init__(self, model: nn.Module, counter: FlopCounterMode) -> None:
        self._modules = dict(model.named_modules())
        self._counter = counter
        self._open: list[tuple[Span, int]] = []
        self._inner: list[int] = []
        self._flops: dict[Span, int] = {}
        self._weights: dict[Span, int] = {}
        self._values: dict[Span, int] = {}
        self._moved: dict[str, int] = {}
        self._left_by_prefix: dict[int, Tensor] = {}

    def begin(self, span: Span) -> None:
        """A span begins."""
        self._open.append((span, self._counter.get_total_flops()))
        self._inner.append(0)

    def end(self) -> None:
        """The innermost span ends."""
        span, before = self._open.pop()
        elapsed = self._counter.get_total_flops() - before
        self._flops[span] = self._flops.get(span, 0) + elapsed - self._inner.pop()
        if self._inner:
            self._inner[-1] += elapsed

    def returned(self, span: Span, inputs: Any, value: Any) -> None:
        """Take note of what a module without children, or a part of the inference, reads and writes."""
        if not span.module:
            self._between_parts(span.part, inputs, value)
            return
        module = self._modules[span.module]
        if isinstance(module, nn.Embedding):  # the rows that are looked up
            self._weights[span] = self._values[span] = _size([value])
            return
        self._weights[span] = sum(parameter.numel() for parameter in module.parameters(recurse=False))
        self._values[span] = _size(inputs) + _size([value])

    def attention(self, operands: Iterable[Tensor], value: Tensor) -> None:
        """Take note of queries, keys and values, and what comes of them, in the innermost span."""
        span = self._open[-1][0]
        self._values[span] = self._values.get(span, 0) + _size(operands) + value.numel()

    def costs(self) -> Costs:
        """Return what was counted."""
        modules = tuple(
            Cost(span.module, _part(span), flops, self._weights.get(span, 0), self._values.get(span, 0))
            for span, flops in self._flops.items()
            if span.module and (flops or isinstance(self._modules[span.module], nn.Embedding))
        )
        return Costs(modules, self._moved)

    def _between_parts(self, part: str, inputs: Any, value: Any) -> None:
        if part == PREFIX:
            left = _floats(value)
            self._left_by_prefix = {id(tensor): tensor for tensor in left}
            self._moved[PREFIX] = _size(inputs) + _size(left)
        elif part == f"{STEP} 0":
            read = [tensor for tensor in _floats(inputs) if id(tensor) in self._left_by_prefix]
            self._moved[STEP] = _size(read)
            raise _EnoughError


class _Attention(TorchFunctionMode):
    """Tells a tally of every attention."""

    def __init__(self, tally: _Tally) -> None:
        super().__init__()
        self._tally = tally

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is F.scaled_dot_product_attention:
            self._tally.attention(args[:3], result)
        return result


def _part(span: Span) -> str:
    """Return which of ``PARTS`` a span belongs to: what is in none of the others is needed once."""
    if span.part.startswith(STEP):
        return STEP
    return MODULATION if span.part == MODULATION else PREFIX


def _floats(values: Any) -> list[Tensor]:
    return [one for one in tree_leaves(values) if isinstance(one, Tensor) and one.is_floating_point()]


def _size(values: Any) -> int:
    return sum(tensor.numel() for tensor in _floats(values))
