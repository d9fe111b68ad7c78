import dataclasses
import threading
from collections import OrderedDict, namedtuple
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from quant_cases import CALLED, LOSSY, ToyModel, inputs, same_bits
from torch import nn

from headless_eval.quant import Precision, fake_quantize, quantize_


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("dtype", LOSSY)
def test_hooks_cover_the_output_of_every_leaf(dtype):
    model = ToyModel()
    seen = {}
    with quantize_(model, Precision(dtype, "activations_only")) as handle:
        assert set(handle.hooked) == CALLED | {"unused"}
        assert handle.fired == ()
        for name in CALLED:  # added after ours, so they see what the next module sees
            model.get_submodule(name).register_forward_hook(
                lambda _module, _args, output, name=name: seen.__setitem__(name, output.detach())
            )
        model(*inputs())
        assert set(handle.fired) == CALLED
        assert handle.unfired == ("unused",)
    assert seen.keys() == CALLED
    for name, output in seen.items():
        if dtype in ("float16", "bfloat16", "float8_e4m3", "float8_e5m2"):
            assert same_bits(fake_quantize(output, dtype), output), name
        elif dtype == "boolean":
            assert len(output.unique()) <= 2, name
        elif dtype in ("int8", "int4"):
            tokens = output.movedim(1, -1) if name == "vision" else output
            tokens = tokens.reshape(-1, tokens.shape[-1])
            steps = tokens / (tokens.abs().amax(1, keepdim=True) / {"int8": 127, "int4": 7}[dtype])
            assert (steps - steps.round()).abs().max() < 1e-3, name


def test_one_module_computes_as_fake_quantize_says():
    linear, x = nn.Linear(8, 5), torch.randn(2, 3, 8)
    plain = linear(x).detach()
    for dtype in LOSSY:
        axis = (0, 1) if dtype in ("int8", "int4") else 0
        with quantize_(linear, Precision(dtype, "activations_only")):
            assert same_bits(linear(x).detach(), fake_quantize(plain, dtype, axis)), dtype
        with quantize_(linear, Precision(dtype, "activations_only")):
            one = linear(x[:1]).detach()
            if dtype not in ("int8", "int4"):  # at batch 1, that is per tensor
                assert same_bits(one, fake_quantize(plain[:1], dtype)), dtype
            single = linear(x[0, 0]).detach()
            assert same_bits(single, fake_quantize(plain[0, 0], dtype)), dtype


@pytest.mark.parametrize("dtype", LOSSY)
def test_a_sample_does_not_depend_on_the_batch(dtype):
    class ToyElementwise(nn.Module):
        """No matrix product, whose own rounding may depend on the batch."""

        def __init__(self):
            super().__init__()
            self.act = nn.Tanh()
            self.pool = nn.AvgPool2d(2)

        def forward(self, x):
            return self.act(self.pool(x))

    x = torch.randn(4, 3, 6, 6) * torch.tensor([1.0, 0.01, 30.0, 2.0])[:, None, None, None]
    model = ToyElementwise()
    with quantize_(model, Precision(dtype, "activations_only")):
        together = model(x)
        for i in range(4):
            assert same_bits(model(x[i : i + 1]), together[i : i + 1])


Pair = namedtuple("Pair", "first second")


@dataclasses.dataclass
class ToyOutput:
    hidden: torch.Tensor
    cache: list
    count: int


class ToyModelOutput(OrderedDict):
    pass


def test_nested_outputs():
    x = torch.randn(2, 6, generator=torch.Generator().manual_seed(0))
    index = torch.arange(3)
    half = x.half()
    nested = {
        "tuple": (x, index, None),
        "named": Pair(x, [x, {"deep": x}]),
        "data": ToyOutput(x, [x, (half,)], 4),
        "mapping": ToyModelOutput(a=x, b="text"),
    }

    class ToyNested(nn.Module):
        def forward(self):
            return nested

    model = ToyNested()
    with quantize_(model, Precision("boolean", "activations_only")) as handle:
        output = model()
        assert handle.fired == ("",)
    expected = fake_quantize(x, "boolean", 0)
    assert isinstance(output["tuple"], tuple)
    assert same_bits(output["tuple"][0], expected)
    assert output["tuple"][1] is index
    assert output["tuple"][2] is None
    assert isinstance(output["named"], Pair)
    assert same_bits(output["named"].second[1]["deep"], expected)
    assert isinstance(output["data"], ToyOutput)
    assert output["data"].count == 4
    assert same_bits(output["data"].hidden, expected)
    inner = output["data"].cache[1][0]
    assert same_bits(inner, fake_quantize(half.float(), "boolean", 0).half())
    assert isinstance(output["mapping"], ToyModelOutput)
    assert same_bits(output["mapping"]["a"], expected)
    assert output["mapping"]["b"] == "text"
    assert same_bits(nested["tuple"][0], x)
    assert nested["mapping"]["a"] is x


def test_an_output_without_floats_does_not_count_as_fired():
    class ToyIntegers(nn.Module):
        def forward(self, x):
            return x.argmax(-1)

    model = nn.Sequential(nn.Linear(4, 4), ToyIntegers())
    with quantize_(model, Precision("int8", "activations_only")) as handle:
        assert model(torch.randn(2, 4)).dtype == torch.int64
        assert handle.fired == ("0",)
        assert handle.unfired == ("1",)


def test_attention_that_bypasses_its_children_is_seen():
    class ToyAttention(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
            self.lists = nn.ParameterList([torch.randn(2)])

        def forward(self, x):
            return self.attention(x, x, x)[0]

    model = ToyAttention().eval()
    with quantize_(model, Precision("boolean", "activations_only")) as handle, torch.no_grad():
        output = model(torch.randn(1, 5, 8))
        assert handle.hooked == handle.fired == ("attention",)
        assert len(output.unique()) == 2


def test_hooks_from_two_threads_at_once():
    model, batches = ToyModel().eval(), [inputs(seed=seed) for seed in range(24)]
    precision = Precision("uint32", "both")
    with torch.inference_mode(), quantize_(model, precision):
        expected = [model(*batch) for batch in batches]
    together = threading.Barrier(2)

    def work(share):
        torch.set_num_threads(1)
        together.wait(timeout=30)
        with torch.inference_mode():
            return [model(*batch) for batch in share]

    with quantize_(model, precision) as handle, ThreadPoolExecutor(2) as pool:
        even, odd = pool.map(work, (batches[::2], batches[1::2]))
        assert set(handle.fired) == CALLED
    assert all(same_bits(left, right) for left, right in zip(expected[::2], even, strict=True))
    assert all(same_bits(left, right) for left, right in zip(expected[1::2], odd, strict=True))
