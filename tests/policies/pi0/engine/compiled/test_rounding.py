"""Rounding in a traced graph, to the bit."""

import pytest
import torch
from engine_cases import QUANTIZED, awkward, same_bits

from headless_eval.policies.pi0.engine.compiled.rounding import rounded
from headless_eval.quant import fake_quantize


@pytest.mark.parametrize("dtype", QUANTIZED)
def test_what_is_traced_rounds_to_the_bit_as_quant_does(dtype):
    for x in awkward(dtype):
        kept = (0, 1) if dtype in ("int8", "int4") else 0
        assert same_bits(rounded(x[None], dtype), fake_quantize(x[None], dtype, kept))


@pytest.mark.gpu
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("dtype", QUANTIZED)
def test_what_is_rounded_on_a_gpu_is_exact(dtype, kind):
    generator = torch.Generator("cuda").manual_seed(0)
    kept = (0, 1) if dtype in ("int8", "int4") else 0
    for shape in ((2, 1, 1), (3, 15, 1024), (2, 15, 4096), (2, 64, 1152), (1, 576, 16384)):
        whole = torch.randn(*shape[:2], 3 * shape[2], device="cuda", generator=generator).to(kind)
        x = whole[..., shape[2] : 2 * shape[2]]
        for case in (x, -x.abs() - 1, (x * 2).round(), x * 0):
            expected = fake_quantize(case.float(), dtype, kept).to(kind)
            assert torch.equal(rounded(case, dtype), expected)
