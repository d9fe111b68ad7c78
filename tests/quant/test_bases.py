import pytest
import torch
from quant_cases import relative

from headless_eval.quant.bases import Basis, divisor, principal_axes, rotate_blocks, search_rotation, zigzag


def test_a_change_of_basis_cancels_in_the_product():
    generator = torch.Generator().manual_seed(0)
    x, weight = torch.randn(50, 24, generator=generator), torch.randn(10, 24, generator=generator)
    x[:, 5] *= 100
    first = search_rotation(x, 8, 16)
    permutation = zigzag(x.abs().amax(0), 8)
    basis = Basis(torch.rand(24, generator=generator) + 0.5, first, permutation, search_rotation(x, 12, 16))
    product = basis.of_input(x) @ basis.of_weight(weight).t()
    assert relative(product, x @ weight.t()) < 1e-6
    assert relative(basis.weight_back(basis.of_weight(weight)), weight) < 1e-6


def test_rotations_spread_an_outlier_and_are_orthogonal():
    x = torch.randn(64, 32, generator=torch.Generator().manual_seed(0))
    x[:, 11] *= 50
    rotation = search_rotation(x, 16, 16)
    torch.testing.assert_close(rotation @ rotation.t(), torch.eye(16), rtol=0, atol=1e-6)
    turned = Basis(first=rotation).of_input(x)
    assert turned.abs().max() < 0.45 * x.abs().max()  # 1/4 would be perfect in blocks of 16
    assert turned.square().mean().item() == pytest.approx(x.square().mean().item(), rel=1e-5)
    even = torch.ones(4, 8) * torch.tensor([1.0, -1.0]).repeat(4)
    assert torch.equal(search_rotation(even, 8, 4), torch.eye(8))  # none is better


def test_zigzag_deals_magnitudes_out_evenly():
    magnitudes = torch.tensor([9.0, 1.0, 8.0, 2.0, 7.0, 3.0, 6.0, 4.0])
    permutation = zigzag(magnitudes, 4)
    assert sorted(permutation.tolist()) == list(range(8))
    assert magnitudes[permutation].reshape(2, 4).tolist() == [[9, 6, 4, 1], [8, 7, 3, 2]]
    assert (divisor(1152, 128), divisor(160, 64), divisor(7, 4), divisor(5, 8)) == (128, 40, 1, 5)


def test_principal_axes_make_rows_orthogonal():
    weight = torch.randn(12, 30, generator=torch.Generator().manual_seed(0))
    rows = rotate_blocks(weight.t(), principal_axes(weight, 4)).t().reshape(3, 4, 30)
    products = rows @ rows.transpose(1, 2)
    assert (products - torch.diag_embed(products.diagonal(dim1=1, dim2=2))).abs().max() < 1e-4
