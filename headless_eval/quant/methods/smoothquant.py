"""SmoothQuant: ``smoothquant``, which moves outliers from activations to weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from headless_eval.quant.methods import METHODS, Bits, Method, Option, check_between, number_option

if TYPE_CHECKING:
    from torch import Tensor

    from headless_eval.quant.calibration import LayerInputs
    from headless_eval.quant.linears import QuantizedLinear


@METHODS.register("smoothquant")
@dataclass(frozen=True)
class SmoothQuant(Method):
    """Divide each input channel by a factor and multiply its weights by it, so that outliers wander from
    activations to weights: ``smoothquant`` (Xiao et al., 2023, arXiv 2211.10438).

    Args:
        alpha: migration strength, 0 to 1: the factor is max|x|^alpha / max|w|^(1 - alpha).
    """

    kind: ClassVar[str] = "smoothquant"
    needs_calibration: ClassVar[bool] = True
    options: ClassVar[Mapping[str, Option]] = {
        "alpha": number_option("alpha", "alpha0.5", float),
        **Method.options,
    }
    examples: ClassVar[tuple[str, ...]] = ("smoothquant_w8a8",)

    weight_bits: int = 8
    alpha: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_between("alpha", self.alpha, 0, 1)

    def solve(self, weight: "Tensor", bits: Bits, inputs: "LayerInputs | None") -> "QuantizedLinear":
        """Smooth by the largest magnitudes of input channels and their weights, then round."""
        from headless_eval.quant.bases import Basis, smoothing
        from headless_eval.quant.solve import quantized_linear

        assert inputs is not None  # a method that needs a calibration is given the layer's inputs
        columns = weight.abs().amax(dim=0)
        basis = Basis(divide=smoothing(inputs.largest, columns, self.alpha, 1 - self.alpha))
        return quantized_linear(basis.of_weight(weight), bits, basis)
