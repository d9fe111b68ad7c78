"""Operations and bytes of an inference, counted on the meta device, and the roofline's time for them.

Operations are those of matrix products, two per multiply-add, as ``torch.utils.flop_counter`` counts them on a model
on the meta device (attention is two products), so they are right for any model. The bytes to move are the weights, once
for every run of a part of the model, and the data that no cache can hold: the images, and the keys and values between
prefix and flow steps.
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
"""The parts of an inference: once per observation; dependent only on the flow times; one Euler step."""


@dataclass(frozen=True)
class Cost:
    """Costs of one module without its children, in one run of its part of the model.

    Args:
        module: the module's name.
        part: one of ``PARTS``.
        flops: operations of matrix products.
        weights: count of the parameters' numbers that are read.
        values: count of the inputs' and outputs' numbers.
    """

    module: str
    part: str
    flops: int
    weights: int
    values: int

    @property
    def component(self) -> str:
        """Return the name of the module's component."""
        return component_of(self.module)


@dataclass(frozen=True)
class Costs:
    """Costs of an inference.

    Args:
        modules: the modules in the order of their calls; modules that only move values have no entry.
        moved: by part, the count of numbers between parts that every implementation has to move through memory.
    """

    modules: tuple[Cost, ...]
    moved: dict[str, int]

    def __iter__(self) -> Iterator[Cost]:
        return iter(self.modules)

    def __len__(self) -> int:
        return len(self.modules)


@dataclass(frozen=True)
class Speeds:
    """Speeds of a chip: operations per second of matrix products, bytes per second of copies."""

    matrix: float
    memory: float

    def least_ms(self, flops: float, size: float) -> float:
        """Return the least milliseconds for these operations and bytes, computed and moved at the same time."""
        return 1e3 * max(flops / self.matrix, size / self.memory)


@dataclass(frozen=True)
class Limit:
    """The least time of an inference in milliseconds: of the prefix, of one flow step, in total."""

    prefix_ms: float
    step_ms: float
    total_ms: float


def limit_of(costs: Costs, speeds: Speeds, steps: int, weight_bytes: int, value_bytes: int) -> Limit:
    """Return the roofline's time; the part that depends only on flow times is computed in advance and not counted.

    Args:
        costs: the costs of one workload.
        speeds: the chip's speeds.
        steps: number of flow steps.
        weight_bytes: bytes of a weight of a matrix product.
        value_bytes: bytes of any other number.
    """

    def least(part: str) -> float:
        of = [cost for cost in costs if cost.part == part]
        size = weight_bytes * sum(cost.weights for cost in of) + value_bytes * costs.moved.get(part, 0)
        return speeds.least_ms(sum(cost.flops for cost in of), size)

    prefix, step = least(PREFIX), least(STEP)
    return Limit(prefix, step, prefix + steps * step)


def count(model: nn.Module, infer: Callable[[], Any]) -> Costs:
    """Return the costs of every module of a model in one inference.

    Args:
        model: the model on the meta device, where tensors have shapes but no data.
        infer: runs one inference of the model.
    """
    with FlopCounterMode(display=False) as counter:
        tally = _Tally(model, counter)
        # In attention, all backends agree only in the count of the two products.
        with sdpa_kernel(SDPBackend.MATH), _Attention(tally), watched(model, tally), suppress(_EnoughError):
            infer()
    return tally.costs()


class _EnoughError(Exception):
    """Raised after the first flow step, because all flow steps cost the same."""


class _Tally:
    """A ``Listener`` that sums the costs of modules; the operations counted so far serve as its clock."""

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
        """Count the numbers that a module without children, or a part of the inference, reads and writes."""
        if not span.module:
            self._between_parts(span.part, inputs, value)
            return
        module = self._modules[span.module]
        if isinstance(module, nn.Embedding):  # only the rows that are looked up
            self._weights[span] = self._values[span] = _size([value])
            return
        self._weights[span] = sum(parameter.numel() for parameter in module.parameters(recurse=False))
        self._values[span] = _size(inputs) + _size([value])

    def attention(self, operands: Iterable[Tensor], value: Tensor) -> None:
        """Count queries, keys, values and outputs of attention in the innermost span."""
        span = self._open[-1][0]
        self._values[span] = self._values.get(span, 0) + _size(operands) + value.numel()

    def costs(self) -> Costs:
        """Return the counted costs."""
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
    """Reports every attention to a tally."""

    def __init__(self, tally: _Tally) -> None:
        super().__init__()
        self._tally = tally

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is F.scaled_dot_product_attention:
            self._tally.attention(args[:3], result)
        return result


def _part(span: Span) -> str:
    """Return the entry of ``PARTS`` that a span belongs to; other code counts as once per observation."""
    if span.part.startswith(STEP):
        return STEP
    return MODULATION if span.part == MODULATION else PREFIX


def _floats(values: Any) -> list[Tensor]:
    return [one for one in tree_leaves(values) if isinstance(one, Tensor) and one.is_floating_point()]


def _size(values: Any) -> int:
    return sum(tensor.numel() for tensor in _floats(values))
