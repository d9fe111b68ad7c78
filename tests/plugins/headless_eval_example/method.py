"""Round-to-nearest with steps that are powers of two, as shift registers compute them."""

from dataclasses import dataclass
from typing import ClassVar

from headless_eval.quant.methods import Method


@dataclass(frozen=True)
class PowerOfTwo(Method):
    """Multiples of a power of two for each output channel; inputs are rounded as with round-to-nearest."""

    kind: ClassVar[str] = "pow2"
    examples: ClassVar[tuple[str, ...]] = ("pow2_w8a8",)

    def solve(self, weight, bits, inputs):
        import torch

        from headless_eval.quant.bases import Basis
        from headless_eval.quant.solve import quantized_linear

        most = 2 ** (bits.weights - 1) - 1
        step = torch.exp2(torch.ceil(torch.log2(weight.abs().amax(1, keepdim=True).clamp(min=1e-12) / most)))
        return quantized_linear((weight / step).round() * step, bits, Basis())
