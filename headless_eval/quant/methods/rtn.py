"""Round-to-nearest: ``rtn``, the baseline of the other methods."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from headless_eval.quant.methods import (
    METHODS,
    Bits,
    Method,
    Option,
    check_least,
    flag_option,
    number_option,
)

if TYPE_CHECKING:
    from torch import Tensor

    from headless_eval.quant.calibration import LayerInputs
    from headless_eval.quant.linears import QuantizedLinear


@METHODS.register("rtn")
@dataclass(frozen=True)
class RoundToNearest(Method):
    """Round weights and inputs to the nearest step, and nothing else: ``rtn``.

    Args:
        group_size: how many weights of an output channel, one after another, share a scale; None: all.
        clip_weights: choose each scale so that the squared error is least, not so that the largest weight fits.
    """

    kind: ClassVar[str] = "rtn"
    options: ClassVar[Mapping[str, Option]] = {
        "group_size": number_option("g", "g64"),
        "clip_weights": flag_option("clip"),
        **Method.options,
    }
    examples: ClassVar[tuple[str, ...]] = ("rtn_w4a16", "rtn_w4a8", "rtn_w4a8_g64")

    group_size: int | None = None
    clip_weights: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least("group size", self.group_size, 1)

    def solve(self, weight: "Tensor", bits: Bits, inputs: "LayerInputs | None") -> "QuantizedLinear":
        """Round the weight; the input stays in its basis."""
        from headless_eval.quant.bases import Basis
        from headless_eval.quant.solve import quantized_linear

        return quantized_linear(weight, bits, Basis(), group=self.group_size, clip=self.clip_weights)
