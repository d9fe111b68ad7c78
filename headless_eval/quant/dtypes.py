"""Data types that are simulated: names and facts. Imports no torch.

To add one, add a line to ``DTYPES`` and a function of its name to ``casts.py``.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class DType:
    """A data type that weights and activations are rounded to.

    Args:
        bits: of one value.
        summary: what it is, in a few words.
        scale: what shares one scale. ``"none"``: the values are rounded as they are. ``"tensor"``: a whole weight,
            or a sample of an output. ``"channel"``: an output channel of a weight, or a token of an output.
        benchmark: whether the published benchmark has it.
    """

    bits: int
    summary: str
    scale: Literal["none", "tensor", "channel"] = "none"
    benchmark: bool = True


DTYPES: dict[str, DType] = {
    "float32": DType(32, "the model as it is"),
    "float16": DType(16, "IEEE half precision"),
    "bfloat16": DType(16, "the upper half of a float32"),
    "float8_e4m3": DType(8, "OCP, 3 bits of mantissa, largest value 448, saturating"),
    "float8_e5m2": DType(8, "OCP, 2 bits of mantissa, largest value 57344, saturating"),
    "int32": DType(32, "affine, with the benchmark's zero point, which represents [-max, -min]", "tensor"),
    "uint32": DType(32, "affine over [min, max]", "tensor"),
    "boolean": DType(1, "the minimum up to the median, the maximum above", "tensor"),
    "int8": DType(8, "symmetric around zero, -127 to 127", "channel", benchmark=False),
    "int4": DType(4, "symmetric around zero, -7 to 7", "channel", benchmark=False),
}
BENCHMARK_DTYPES = tuple(name for name, dtype in DTYPES.items() if dtype.benchmark)


def per_channel(dtype: str) -> bool:
    """Return whether each output channel of a weight and each token of an output has its own scale."""
    return DTYPES[dtype].scale == "channel"
