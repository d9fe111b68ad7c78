"""What tests of engines share: which there are here, and how far results are apart."""

import pytest
import torch

from headless_eval.policies.pi0.engine.cpu import engine as cpu
from headless_eval.quant.precision import DTYPES, Precision

QUANTIZED = [dtype for dtype in DTYPES if dtype != "float32"]
SCALED = ("uint32", "int32", "boolean", "int8", "int4")

try:
    cpu.library()
    NO_COMPILER = None
except OSError as error:
    NO_COMPILER = str(error)
needs_c = pytest.mark.skipif(NO_COMPILER is not None, reason=f"C cannot be built here: {NO_COMPILER}")


def distance(found: torch.Tensor, expected: torch.Tensor) -> float:
    assert found.shape == expected.shape
    return float((found - expected).norm() / expected.norm())


def chaotic(precision: Precision) -> bool:
    """Whether steps are so fine, or values so few, that one flip leads to the next, in the model itself too."""
    return precision.dtype in ("uint32", "float16") or precision.name == "boolean_both"


def sampled(engine, batch, **arguments) -> torch.Tensor:
    return engine.sample_actions(*batch.prefix, batch.state, batch.noise, **arguments)


def awkward(dtype: str) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    bits = (
        torch.randint(-(2**31), 2**31 - 1, (16, 999), generator=generator).to(torch.int32).view(torch.float32)
    )
    if dtype in SCALED:  # a NaN makes all that shares its scale one
        bits = bits.nan_to_num(0, 1e30, -1e30).clamp(-1e30, 1e30)
    edges = [
        0.0,
        -0.0,
        448,
        464,
        465,
        57344,
        61440,
        65504,
        65519,
        65520,
        2**-14,
        2**-15,
        2**-24,
        2**-25,
        3 * 2**-10,
    ]
    edges += [1e-45, 3.4e38, -3.4e38, 2**-133, float("inf"), -float("inf"), float("nan")]
    normal = torch.randn(7, 50, generator=generator)
    ties = torch.randint(0, 4, (16, 16), generator=generator).float() - 2
    return [
        bits,
        torch.tensor([edges]),
        normal,
        1e3 * normal,
        normal.abs() + 1,
        ties,
        ties * 0,
        ties[:1, :1] * 0 + 3,
    ]


def same_bits(found: torch.Tensor, expected: torch.Tensor) -> bool:
    equal = found.view(torch.int32) == expected.view(torch.int32)
    return bool((equal | (found.isnan() & expected.isnan())).all())
