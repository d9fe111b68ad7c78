import numpy as np
import pytest
import torch

pytest.importorskip("flax", reason="the extra jax is not installed")

import jax

from headless_eval.errors import UserError
from headless_eval.quant import DTYPES
from headless_eval.quant.casts import fake_quantize as in_torch
from headless_eval.quant.jax_models import casts
from headless_eval.quant.jax_models.casts import fake_quantize


def values():
    rng = np.random.default_rng(0)
    normal = rng.standard_normal((4, 9, 16))
    bits = rng.integers(0, 2**32, (16, 32, 16), dtype=np.uint32)
    bits = np.where((bits & 0x7F800000) == 0, bits & 0x80000000, bits).astype(
        np.uint32
    )  # no subnormal numbers
    broken = rng.standard_normal((2, 3, 4)).astype(np.float32)
    broken[0, 0, 0], broken[1, 0, 0], broken[1, 2, 3] = np.nan, np.inf, -np.inf
    arrays = [
        normal,
        normal * 10.0 ** rng.uniform(-9, 6, normal.shape),
        np.abs(normal) + 3,
        np.full((2, 3, 4), 0.7),
        np.zeros((2, 3, 4)),
        bits.view(np.float32),
        broken,
        np.arange(-4096, 4096).reshape(8, 64, 16)
        / 64,  # among them the middles between two values of a narrow type
        np.arange(-4096, 4096).reshape(8, 64, 16) * 2.0**-26,
    ]
    return [array.astype(np.float32) for array in arrays]


def same(left, right):
    """Compare bit for bit, but for subnormal numbers, the sign of zero and the bits of a NaN."""
    tiny = 2.0**-126
    equal = left.view(np.uint32) == right.view(np.uint32)
    return (equal | (np.isnan(left) & np.isnan(right)) | ((abs(left) < tiny) & (abs(right) < tiny))).all()


@pytest.mark.parametrize("dtype", [dtype for dtype in DTYPES if dtype != "float32"])
def test_every_cast_is_torchs(dtype):
    """Alone, and between a product and a sum, which XLA would compute as one."""
    arrays = values()

    @jax.jit
    def alone(arrays):
        return [[fake_quantize(array, dtype, kept) for kept in ((), (0,), (0, 1), (2,))] for array in arrays]

    @jax.jit
    def between(arrays):
        return [fake_quantize(array * 3.1, dtype, (0,)) + array for array in arrays]

    for array, rounded in zip(arrays, alone(arrays), strict=True):
        for kept, found in zip((None, (0,), (0, 1), (2,)), rounded, strict=True):
            assert same(np.asarray(found), in_torch(torch.from_numpy(array), dtype, kept).numpy()), kept
    for array, found in zip(arrays, between(arrays), strict=True):
        with np.errstate(all="ignore"):
            expected = in_torch(torch.from_numpy(array * np.float32(3.1)), dtype, 0).numpy() + array
        assert same(np.asarray(found), expected)


def test_every_data_type_has_a_cast():
    assert set(casts._CASTS) | {"float32"} == set(DTYPES)
    with pytest.raises(UserError, match="int7 cannot be computed in JAX"):
        fake_quantize(jax.numpy.ones(3), "int7")
