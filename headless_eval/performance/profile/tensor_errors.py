"""Errors of a model's weights and activations against float32, module by module.

Errors are relative root mean squares over the same observation and noise. An activation's error includes the errors of
all earlier modules, because the whole model is quantized. Of large tensors every n-th value counts, with an odd n so
that all columns are sampled.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from headless_eval.performance.spans import Span, watched

VALUES = 65_536
"""The maximal number of compared values of a tensor."""


def sample(tensor: Tensor) -> Tensor:
    """Return at most ``VALUES`` values of a tensor, float32, spread over it; a copy."""
    step = -(-tensor.numel() // VALUES) | 1
    flat = tensor.detach().reshape(-1) if step == 1 else tensor.detach().flatten()
    return flat[::step].to(torch.float32, copy=True)


@dataclass
class Snapshot:
    """Sampled values of a model in one precision on one observation; a ``Listener``.

    Attributes:
        weights: values of the weights, by the parameter's name.
        outputs: values of the outputs of all calls in their order, by module.
        numbers: the number of values of a module's outputs in one inference.
    """

    weights: dict[str, Tensor] = field(default_factory=dict)
    outputs: dict[str, list[Tensor]] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)

    def begin(self, span: Span) -> None:
        """Nothing to keep."""

    def end(self) -> None:
        """Nothing to keep."""

    def returned(self, span: Span, inputs: Any, value: Any) -> None:
        """Keep a module's output."""
        if not span.module:
            return
        self.outputs.setdefault(span.module, []).append(sample(value))
        self.numbers[span.module] = self.numbers.get(span.module, 0) + value.numel()


def snapshot(
    model: nn.Module, infer: Callable[[], Any], parameters: Iterable[tuple[str, Tensor]] | None = None
) -> Snapshot:
    """Record the model's present weights and its modules' outputs in one eager inference.

    ``parameters`` replaces weights, by name, that a method keeps in another basis.
    """
    weights = model.named_parameters() if parameters is None else parameters
    kept = Snapshot(weights={name: sample(parameter) for name, parameter in weights})
    with watched(model, kept):
        infer()
    return kept


def weight_errors(of: Snapshot, reference: Snapshot) -> dict[str, float]:
    """Return the relative error of each module's own parameters together."""
    return _by_module(
        (name.rpartition(".")[0], [value], [reference.weights[name]]) for name, value in of.weights.items()
    )


def activation_errors(of: Snapshot, reference: Snapshot) -> dict[str, float]:
    """Return the relative error of each module's outputs, over all its calls."""
    return _by_module(
        (name, outputs, reference.outputs[name])
        for name, outputs in of.outputs.items()
        if len(outputs) == len(reference.outputs.get(name, ()))
    )


def _by_module(pairs: Any) -> dict[str, float]:
    sums: dict[str, Tensor] = {}
    for name, values, theirs in pairs:
        for value, their in zip(values, theirs, strict=True):
            squares = torch.stack([(value - their).square().sum(), their.square().sum()]).double()
            sums[name] = sums[name] + squares if name in sums else squares
    return {name: float((both[0] / both[1].clamp(min=1e-300)).sqrt()) for name, both in sums.items()}
