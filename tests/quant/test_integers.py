import pytest
import torch
from quant_cases import relative, same_bits

from headless_eval.quant import fake_quantize
from headless_eval.quant.integers import PackedWeight, round_tokens


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 8])
@pytest.mark.parametrize("columns", [7, 8, 15])
@pytest.mark.parametrize("group", [None, 1, 3, 4, 100])
def test_packed_weights_unpack_to_the_same_bits(bits, columns, group):
    weight = torch.randn(6, columns, generator=torch.Generator().manual_seed(0))
    weight[2] = 0
    packed = PackedWeight.round(weight, bits, group)
    size = min(group or columns, columns)
    expected = [
        (
            part / (scale := (part.abs().amax(1, keepdim=True) / (2 ** (bits - 1) - 1)).clamp(min=1e-38))
        ).round()
        * scale
        for part in weight.split(size, dim=1)
    ]
    assert torch.equal(packed.unpack(), torch.cat(expected, dim=1))  # an integer has no sign at zero
    per_row = -(-columns // size) * size
    assert packed.codes.nbytes == 6 * (-(-per_row // 2) if bits <= 4 else per_row)
    assert packed.nbytes == packed.codes.nbytes + 4 * 6 * -(-columns // size)


def test_without_options_round_to_nearest_is_the_cast():
    x = torch.randn(3, 5, 16, generator=torch.Generator().manual_seed(0))
    weight = x[0]
    for bits, dtype in ((4, "int4"), (8, "int8")):
        assert torch.equal(PackedWeight.round(weight, bits).unpack(), fake_quantize(weight, dtype, 0))
        assert same_bits(round_tokens(x, bits), fake_quantize(x, dtype, (0, 1)))


def test_clipping_lowers_the_error_and_limits_what_is_represented():
    weight = torch.randn(32, 256, generator=torch.Generator().manual_seed(0))
    plain, clipped = (PackedWeight.round(weight, 3, clip=clip).unpack() for clip in (False, True))
    assert relative(clipped, weight) < 0.9 * relative(plain, weight)
    limit = torch.tensor(1.0)
    assert round_tokens(weight, 8, limit).abs().max() <= 1.0
    assert torch.isnan(round_tokens(torch.tensor([[1.0, torch.nan]]), 8, limit)).all()
