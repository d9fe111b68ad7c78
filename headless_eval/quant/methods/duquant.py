"""DuQuant: ``duquant``, which spreads outliers over blocks of channels by rotations and a permutation."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from headless_eval.quant.methods import (
    METHODS,
    UNQUANTIZED,
    Bits,
    Method,
    Option,
    check_between,
    check_least,
    flag_option,
    number_option,
)

if TYPE_CHECKING:
    from torch import Tensor

    from headless_eval.quant.calibration import LayerInputs
    from headless_eval.quant.linears import QuantizedLinear

_PERCENTILES = (99.0, 99.5, 99.9, 99.99)


@METHODS.register("duquant")
@dataclass(frozen=True)
class DuQuant(Method):
    """Rotate outliers into their neighbours, deal channels out to blocks, rotate again: ``duquant`` (Lin et al.,
    2024, arXiv 2406.01721).

    Args:
        block: channels rotated together; the largest divisor of a layer's width up to this.
        steps: greedy steps that a rotation is searched with.
        permute: deal the channels out between the rotations, by magnitude, to and fro (zigzag).
        row_rotation: also rotate the output channels, so that their weights are rounded in their principal axes;
            undone after the product, in float32.
        percentile: of the magnitudes seen in calibration; no token's scale reaches further, so that larger values
            are clipped. None: for each layer the percentile with the least squared error among four, or no clipping.
        smooth: strength of the smoothing before the first rotation: factors (max|x| / max|w|)^smooth; 0: no
            smoothing.
        clip_weights: choose each output channel's scale so that the squared error is least.
    """

    kind: ClassVar[str] = "duquant"
    needs_calibration: ClassVar[bool] = True
    options: ClassVar[Mapping[str, Option]] = {
        "block": number_option("b", "b64"),
        "steps": number_option("steps", "steps16"),
        "permute": flag_option("noperm", False),
        "row_rotation": flag_option("rowrot"),
        "percentile": number_option("pct", "pct99.9", float),
        "smooth": number_option("ls", "ls0.5", float),
        "clip_weights": flag_option("noclip", False),
        **Method.options,
    }
    examples: ClassVar[tuple[str, ...]] = ("duquant_w4a8", "duquant_w4a4")

    block: int = 64
    steps: int = 16
    permute: bool = True
    row_rotation: bool = False
    percentile: float | None = None
    smooth: float = 0.5
    clip_weights: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least("block", self.block, 1)
        check_least("steps", self.steps, 1)
        check_between("smoothing", self.smooth, 0, 1)
        if self.percentile is not None:
            check_between("percentile", self.percentile, 50, 100)

    def solve(self, weight: "Tensor", bits: Bits, inputs: "LayerInputs | None") -> "QuantizedLinear":
        """Search the rotations on the tokens seen in calibration, then clip and round."""
        from headless_eval.quant.bases import (
            Basis,
            divisor,
            principal_axes,
            search_rotation,
            smoothing,
            zigzag,
        )
        from headless_eval.quant.linears import OutputRotation
        from headless_eval.quant.solve import quantized_linear

        assert inputs is not None  # a method that needs a calibration is given the layer's inputs
        divide = None
        x, largest = inputs.tokens, inputs.largest
        if self.smooth:
            divide = smoothing(largest, weight.abs().amax(dim=0), self.smooth, self.smooth)
            x = x / divide
        size = divisor(weight.shape[1], self.block)
        first = search_rotation(x, size, self.steps)
        permutation = second = None
        if self.permute:
            x = Basis(first=first).of_input(x)
            permutation = zigzag(x.abs().amax(dim=0), size)
            second = search_rotation(x[:, permutation], size, self.steps)
        basis = Basis(divide, first, permutation, second)
        turned = basis.of_weight(weight)
        output = None
        if self.row_rotation:
            output = OutputRotation(principal_axes(turned, divisor(len(weight), self.block)))
            turned = output.of_weight(turned)
        limit = _clip(basis.of_input(inputs.tokens), bits.activations, self.percentile)
        return quantized_linear(turned, bits, basis, limit=limit, clip=self.clip_weights, output=output)


def _clip(x: "Tensor", bits: int, percentile: float | None) -> "Tensor | None":
    """Return the magnitude () beyond which tokens are clipped; None where not clipping has the least error."""
    from headless_eval.quant.integers import round_tokens

    if bits == UNQUANTIZED:
        return None
    magnitudes = x.abs().flatten().sort().values
    if percentile is not None:
        return magnitudes[round((len(magnitudes) - 1) * percentile / 100)]
    best, least = None, (round_tokens(x, bits) - x).square().sum()
    for candidate in _PERCENTILES:
        limit = magnitudes[round((len(magnitudes) - 1) * candidate / 100)]
        error = (round_tokens(x, bits, limit) - x).square().sum()
        if error < least:
            best, least = limit, error
    return best
