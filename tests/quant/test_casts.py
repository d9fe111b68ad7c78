import itertools

import numpy as np
import paths
import pytest
import torch
from quant_cases import LOSSY, same_bits

from headless_eval.errors import UserError
from headless_eval.quant import BENCHMARK_DTYPES, DTYPES, fake_quantize

GOLDEN = paths.GOLDEN / "fp_sim_benchmark_quantize.npz"


CASES = ("gaussian", "outliers", "huge", "tiny", "constant", "asymmetric", "single")


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def golden():
    if not GOLDEN.exists():
        pytest.skip(f"{GOLDEN} is missing: the reference quantizer's outputs are not on this machine")
    with np.load(GOLDEN) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


@pytest.mark.parametrize("dtype", BENCHMARK_DTYPES)
@pytest.mark.parametrize("case", CASES)
def test_agrees_with_the_benchmark_quantizer(golden, case, dtype):
    x = golden[f"{case}/input"]
    reference = "float8_e5m2_ocp" if dtype == "float8_e5m2" else dtype
    expected = golden[f"{case}/{reference}"]
    before = x.clone()
    actual = fake_quantize(x, dtype)
    assert same_bits(x, before)
    assert actual.dtype == torch.float32
    if dtype in ("int32", "uint32"):
        torch.testing.assert_close(actual, expected, rtol=0, atol=1e-6 * float(x.max() - x.min()))
        assert torch.equal(actual, expected)  # on this machine; zeros may differ in sign
    else:
        assert same_bits(actual, expected)


@pytest.mark.parametrize("case", CASES)
def test_fnuz_variant_of_e5m2_differs_only_below_the_smallest_normal(golden, case):
    x = golden[f"{case}/input"]
    ours, theirs = fake_quantize(x, "float8_e5m2"), golden[f"{case}/float8_e5m2"]
    normal = x.abs() >= 2.0**-14
    torch.testing.assert_close(ours[normal], theirs[normal], rtol=0, atol=0)
    # Below, OCP's steps are 2^-16 and FNUZ's 2^-17, each half a step off at most.
    assert (ours - theirs)[~normal].abs().le(2.0**-17 + 2.0**-18).all()


def test_golden_covers_what_is_read_from_it(golden):
    assert {name.split("/")[0] for name in golden} == set(CASES)
    e5m2 = [(golden[f"{case}/float8_e5m2"], golden[f"{case}/float8_e5m2_ocp"]) for case in CASES]
    assert any(not torch.equal(fnuz, ocp) for fnuz, ocp in e5m2)


def test_uint32_spans_the_range_and_int32_the_range_that_begins_at_minus_the_largest():
    x = torch.tensor([-1.0, -0.25, 0.5, 3.0])
    torch.testing.assert_close(fake_quantize(x, "uint32"), x, rtol=0, atol=1e-6)
    # Represented: [-3, 1]. What lies above overflows to -3.
    torch.testing.assert_close(
        fake_quantize(x, "int32"), torch.tensor([-1.0, -0.25, 0.5, -3.0]), rtol=0, atol=1e-6
    )
    torch.testing.assert_close(
        fake_quantize(-x, "int32"), torch.tensor([1.0, 0.25, -0.5, -1.0]), rtol=0, atol=1e-6
    )


def test_boolean_splits_at_the_lower_median():
    x = torch.tensor([4.0, 1.0, 3.0, 2.0])
    assert fake_quantize(x, "boolean").tolist() == [4, 1, 4, 1]
    assert fake_quantize(torch.tensor([5.0, 1.0, 3.0]), "boolean").tolist() == [5, 1, 1]


def test_symmetric_integers():
    x = torch.tensor([-7.0, -2.5, -0.6, 0.0, 0.5, 1.5, 6.6])
    assert fake_quantize(x, "int4").tolist() == [-7, -2, -1, 0, 0, 2, 7]
    y = torch.linspace(-3, 3, 1001)
    for dtype, largest in (("int8", 127), ("int4", 7)):
        quantized = fake_quantize(y, dtype)
        assert len(quantized.unique()) == 2 * largest + 1
        assert (quantized - y).abs().max() <= 3 / largest / 2 * 1.0001
        assert torch.equal(quantized, -fake_quantize(-y, dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_axis_is_the_one_that_keeps_its_scale(dtype):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 4, 5, generator=generator) * torch.tensor([1.0, 50.0, 1e-3])[:, None, None]
    for axis in (0, 1, 2, -1):
        slices = [fake_quantize(part.contiguous(), dtype) for part in x.unbind(axis)]
        assert same_bits(fake_quantize(x, dtype, axis), torch.stack(slices, axis)), axis
    for axes in ((0, 1), (0, 2), (2, 0)):
        actual = fake_quantize(x, dtype, axes)
        for i, j in itertools.product(range(x.shape[axes[0]]), range(x.shape[axes[1]])):
            part = x.select(max(axes), (i, j)[axes.index(max(axes))])
            part = part.select(min(axes), (i, j)[axes.index(min(axes))])
            got = actual.select(max(axes), (i, j)[axes.index(max(axes))])
            got = got.select(min(axes), (i, j)[axes.index(min(axes))])
            assert same_bits(got, fake_quantize(part.contiguous(), dtype))


@pytest.mark.parametrize("dtype", LOSSY)
def test_degenerate_tensors(dtype):
    for x in (torch.zeros(7), torch.zeros(2, 3), torch.tensor(0.0)):
        assert same_bits(fake_quantize(x, dtype), x)
    assert fake_quantize(torch.zeros(0, 4), dtype).shape == (0, 4)
    assert fake_quantize(torch.tensor(0.5), dtype).shape == ()
    # So narrow a range that the step underflows to zero.
    narrow = torch.tensor([0.0, 1e-44, 2e-44])
    assert fake_quantize(narrow, dtype).isfinite().all()


@pytest.mark.parametrize("dtype", LOSSY)
def test_nan_is_never_rounded_away(dtype):
    x = torch.tensor([1.0, float("nan"), -2.0, 3.0])
    quantized = fake_quantize(x, dtype)
    if dtype in ("int32", "uint32", "boolean", "int8", "int4"):
        assert quantized.isnan().all()
        assert fake_quantize(torch.tensor([1.0, float("inf"), -2.0]), dtype).isnan().any()
    else:
        assert quantized.isnan().tolist() == [False, True, False, False]


def test_infinities():
    x = torch.tensor([1.0, float("inf"), -float("inf")])
    assert fake_quantize(x, "float16").tolist() == x.tolist()
    assert fake_quantize(x, "bfloat16").tolist() == x.tolist()
    assert fake_quantize(x, "float8_e4m3").tolist() == [1, 448, -448]
    assert fake_quantize(x, "float8_e5m2").tolist() == [1, 57344, -57344]


@pytest.mark.parametrize("dtype", LOSSY)
def test_views_in_other_orders_give_the_same_values(dtype):
    x = torch.randn(6, 10, generator=torch.Generator().manual_seed(1))
    strided = x.t().contiguous().t()
    assert not strided.is_contiguous()
    for axis in (None, 0, 1):
        assert same_bits(fake_quantize(strided, dtype, axis), fake_quantize(x, dtype, axis))


def test_fake_quantize_refuses_other_types():
    with pytest.raises(TypeError, match="float32"):
        fake_quantize(torch.zeros(2, dtype=torch.float16), "int8")
    with pytest.raises(UserError, match="did you mean float8_e4m3"):
        fake_quantize(torch.zeros(2), "float8_e4m4")


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_gpu_gives_the_same_bits_without_synchronising(dtype):
    generator = torch.Generator().manual_seed(2)
    for x in (
        torch.randn(64, 96, generator=generator) / 30,
        torch.randn(8, 513, generator=generator) * torch.logspace(-6, 6, 8)[:, None],
        torch.rand(3, 1000, generator=generator) + 1,
        torch.full((5, 7), 0.37),
        (torch.arange(2**16, dtype=torch.int32) << 16)
        .view(torch.float32)
        .nan_to_num(nan=0.5, posinf=1.0, neginf=-1.0),
    ):
        for axis in (None, 0):
            on_gpu = x.cuda()
            torch.cuda.set_sync_debug_mode("error")
            try:
                actual = fake_quantize(on_gpu, dtype, axis)
            finally:
                torch.cuda.set_sync_debug_mode("default")
            # Steps over a range beyond float32's are not a number, on either device.
            torch.testing.assert_close(
                actual.cpu(), fake_quantize(x, dtype, axis), rtol=0, atol=0, equal_nan=True
            )
