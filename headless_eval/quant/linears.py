"""Linear layers under a method: which ones are quantized, and what a quantized layer is made of."""

import re
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from headless_eval.errors import UserError
from headless_eval.quant.activations import leaves_of
from headless_eval.quant.bases import Basis, rotate_blocks
from headless_eval.quant.integers import PackedWeight, round_tokens
from headless_eval.quant.methods import UNQUANTIZED, Bits
from headless_eval.quant.precision import Precision

_IN_A_STACK = re.compile(r"(^|\.)\d+\.")


@dataclass(frozen=True)
class LinearInScope:
    """A linear layer that a method quantizes: its name, the layer, its bits."""

    name: str
    module: nn.Linear
    bits: Bits


def linears_in_scope(model: nn.Module, precision: Precision) -> list[LinearInScope]:
    """Return the linear layers that a method quantizes, in the model's order, with their bits.

    They are those in scope within stacks of layers (a number is part of their name), as in the papers; with the
    option ``all``, or in a model without stacks, every one in scope. Layers that share their weight with other
    modules are left out, and those whose own bits leave everything as it is.

    A model whose modules have other names too, such as those of the original implementation, has a method
    ``also_called(name)``; the scope's expressions are looked for in both names.

    Raises:
        UserError: the scope matches no linear layer, or an expression of its bits matches none of those chosen.
        ValueError: the precision is a data type, not a method.
    """
    method = precision.method
    if method is None:
        raise ValueError(f"{precision.name} is no method")
    found = [
        (names, module)
        for names, module in leaves_of(model)
        if isinstance(module, nn.Linear) and module.weight.is_floating_point()
    ]
    if not method.every_layer:
        stacked = [(names, module) for names, module in found if _IN_A_STACK.search(names[0])]
        found = stacked or found
    also_called = getattr(model, "also_called", None)
    shared = _shared_weights(model)
    chosen, unmatched = [], [pattern for pattern, _ in precision.scope.bits]
    for names, module in found:
        known = names + [also_called(name) for name in names] if callable(also_called) else names
        if not any(precision.scope.matches(name) for name in known) or module.weight.data_ptr() in shared:
            continue
        unmatched = [pattern for pattern in unmatched if not any(re.search(pattern, name) for name in known)]
        bits = precision.scope.bits_for(known, method.bits)
        if not bits.unquantized:
            chosen.append(LinearInScope(names[0], module, bits))
    if not chosen:
        everywhere = "" if method.every_layer else " within a stack of layers"
        raise UserError(
            f"scope '{precision.scope}' matches no linear layer{everywhere} of the {type(model).__name__}: widen "
            f"it (names begin with {top_level_names(model)}), or write {method.name}_all for every linear layer"
        )
    if unmatched:
        raise UserError(
            f"bits are given for {unmatched[0]!r}, which is found in no linear layer's name in scope, such as "
            f"{chosen[0].name}: --dry-run lists them"
        )
    return chosen


def top_level_names(model: nn.Module) -> str:
    """Return the names of a model's direct children in one line, for messages about scopes."""
    return ", ".join(name for name, _ in model.named_children()) or "nothing: it has no modules"


def _shared_weights(model: nn.Module) -> set[int]:
    """Return the addresses of parameters that several modules hold."""
    holders: dict[int, set[int]] = {}
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            holders.setdefault(parameter.data_ptr(), set()).add(id(module))
    return {address for address, modules in holders.items() if len(modules) > 1}


@dataclass(frozen=True)
class InputQuantizer:
    """A function for the input of a linear layer: a change of basis, then every token is rounded.

    It runs without host synchronisation, and a token's result does not depend on the other tokens.

    Args:
        basis: of the channels.
        bits: 2 to 8; 16 rounds nothing.
        largest: what a token's scale reaches at most, float32 (); None: the token's largest value.
    """

    basis: Basis
    bits: int
    largest: Tensor | None = None

    @property
    def changes(self) -> bool:
        """Whether inputs come out other than they went in."""
        return self.basis.changes or self.bits != UNQUANTIZED

    def __call__(self, x: Tensor) -> Tensor:
        """Map inputs (..., in) of any floating-point type to the same shape and type."""
        changed = self.basis.of_input(x.to(torch.float32))
        if self.bits != UNQUANTIZED:
            changed = round_tokens(changed, self.bits, self.largest)
        return changed.to(x.dtype)


@dataclass(frozen=True)
class OutputRotation:
    """A function for the output of a linear layer whose output channels are rotated: it turns them back.

    Args:
        axes: the rotation of each block of channels, float32 (blocks, size, size).
    """

    axes: Tensor

    def __call__(self, y: Tensor) -> Tensor:
        """Map outputs (..., out) of any floating-point type to the same shape and type."""
        return rotate_blocks(y.to(torch.float32), self.axes.transpose(1, 2)).to(y.dtype)

    def of_weight(self, weight: Tensor) -> Tensor:
        """Return a weight (out, in) whose layer gives rotated outputs."""
        return rotate_blocks(weight.t(), self.axes).t()

    def of_bias(self, bias: Tensor) -> Tensor:
        """Return a bias (out,) rotated like the outputs."""
        return rotate_blocks(bias[None], self.axes)[0]

    def weight_back(self, weight: Tensor) -> Tensor:
        """Return a weight (out, in) of ``of_weight`` in its original form."""
        return rotate_blocks(weight.t(), self.axes.transpose(1, 2)).t()


@dataclass(frozen=True)
class QuantizedLinear:
    """A linear layer as a method quantizes it.

    Args:
        bits: of weights and inputs.
        inputs: the function that its input goes through.
        packed: its weight in the new basis; None where weights keep their values.
        output: turns its outputs back; None where output channels are not rotated.
    """

    bits: Bits
    inputs: InputQuantizer
    packed: PackedWeight | None = None
    output: OutputRotation | None = None

    def weight_for(self, weight: Tensor) -> Tensor:
        """Return the weight that the layer computes with, float32 (out, in), given its weight at float32."""
        if self.packed is not None:
            return self.packed.unpack()
        weight = self.inputs.basis.of_weight(weight)
        return weight if self.output is None else self.output.of_weight(weight)

    def effective_weight(self, weight: Tensor) -> Tensor:
        """Return ``weight_for`` in the original basis: its distance from ``weight`` is the weights' error."""
        now = self.weight_for(weight)
        if self.output is not None:
            now = self.output.weight_back(now)
        return self.inputs.basis.weight_back(now)

    @property
    def nbytes(self) -> int:
        """Its size in bytes when packed: integers, scales, and the tensors of the basis."""
        basis = [part for part in vars(self.inputs.basis).values() if part is not None]
        extra = [self.output.axes] if self.output else []
        return sum(part.nbytes for part in [*basis, *extra, *([self.packed] if self.packed else [])])
