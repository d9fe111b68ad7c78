import dataclasses
import itertools
import subprocess
import sys
import threading
from collections import OrderedDict, namedtuple
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import paths
import pytest
import torch
from torch import nn

from headless_eval.errors import UserError
from headless_eval.quant import (
    BENCHMARK_DTYPES,
    DTYPES,
    MODES,
    Precision,
    Scope,
    configurations,
    fake_quantize,
    quantize_,
)

GOLDEN = paths.GOLDEN / "fp_sim_benchmark_quantize.npz"
CASES = ("gaussian", "outliers", "huge", "tiny", "constant", "asymmetric", "single")
LOSSY = [dtype for dtype in DTYPES if dtype != "float32"]


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


def bits(tensor):
    return tensor.contiguous().reshape(-1).view(torch.uint8)


def same_bits(left, right):
    return left.shape == right.shape and left.dtype == right.dtype and torch.equal(bits(left), bits(right))


class ToyBlock(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 2 * width)
        self.act = nn.GELU()
        self.down = nn.Linear(2 * width, width, bias=False)

    def forward(self, x):
        return x + self.down(self.act(self.up(self.norm(x))))


class ToyModel(nn.Module):
    """Has an image tower, tied embeddings, a bare parameter, buffers, and a leaf that nobody calls."""

    def __init__(self, width=16, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.vision = nn.Conv2d(3, width, 4, stride=4)
        self.embed = nn.Embedding(32, width)
        self.query = nn.Parameter(torch.randn(1, 1, width))
        self.blocks = nn.ModuleList(ToyBlock(width) for _ in range(2))
        self.head = nn.Linear(width, 32, bias=False)
        self.head.weight = self.embed.weight
        self.unused = nn.Linear(width, width)
        self.register_buffer("offset", torch.randn(width))

    def forward(self, images, tokens):
        patches = self.vision(images).flatten(2).transpose(1, 2)
        x = torch.cat([patches, self.embed(tokens), self.query.expand(len(tokens), 1, -1)], dim=1)
        for block in self.blocks:
            x = block(x + self.offset)
        return self.head(x)


def inputs(batch=1, seed=3):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(batch, 3, 8, 8, generator=generator)
    return images, torch.randint(32, (batch, 5), generator=generator)


def snapshot(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def assert_same_state(model, state):
    now = model.state_dict()
    assert now.keys() == state.keys()
    for name, tensor in state.items():
        assert same_bits(now[name], tensor), name


# --- the reference quantizer --------------------------------------------------------------------------------


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


# --- fake_quantize ------------------------------------------------------------------------------------------


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


# --- Precision ----------------------------------------------------------------------------------------------


def test_names():
    assert Precision().name == "float32"
    assert Precision("float32", "both") == Precision()
    assert Precision("float8_e4m3", "both").name == "float8_e4m3_both"
    one, other = (Precision("int8", "both", Scope(pattern)) for pattern in ("vision", "expert"))
    assert one.name.startswith("int8_both_scope_")
    assert one.name != other.name
    assert one.name == Precision("int8", "both", Scope("vision")).name


@pytest.mark.parametrize("precision", configurations(DTYPES, MODES), ids=lambda precision: precision.name)
def test_parse_reads_every_name(precision):
    assert Precision.parse(precision.name) == precision


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Precision("bfloat61"), "unknown dtype 'bfloat61': did you mean bfloat16"),
        (lambda: Precision("int8", "weights"), "unknown mode 'weights': did you mean weights_only"),
        (lambda: Precision.parse("int9_both"), "unknown dtype 'int9': did you mean int"),
        (lambda: Precision("zzzz"), "unknown dtype 'zzzz'; there are: float32, float16"),
        (lambda: Scope("("), "include '\\(' is not a regular expression"),
        (lambda: Scope(exclude="["), "exclude '\\['"),
        (lambda: configurations([], MODES), "at least one dtype"),
        (lambda: configurations(["int8"], []), "one mode"),
    ],
)
def test_bad_precisions_say_what_is_valid(make, message):
    with pytest.raises(UserError, match=message):
        make()


def test_configurations():
    every = configurations(BENCHMARK_DTYPES, MODES)
    assert len(every) == 22
    assert [precision.name for precision in every[:3]] == [
        "float32",
        "float16_weights_only",
        "float16_activations_only",
    ]
    few = configurations(["boolean", "float32", "boolean", "int8"], ["both", "weights_only", "both"])
    assert [precision.name for precision in few] == [
        "float32",
        "boolean_both",
        "boolean_weights_only",
        "int8_both",
        "int8_weights_only",
    ]
    assert configurations(["int8"], ["both"], Scope("vision"))[0].scope == Scope("vision")


def test_precision_imports_no_torch():
    code = "import sys, headless_eval, headless_eval.quant.precision; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- weights ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_restore_is_exact(dtype, mode):
    model = ToyModel()
    with torch.no_grad():  # bit patterns that arithmetic would change
        odd = model.blocks[0].up.weight.view(torch.int32)
        odd[0, 0], odd[0, 1], odd[0, 2] = 0x7FA00001, -(2**31), 1  # signalling NaN, -0.0, a denormal
        odd[1, 0] = 0x7FC12345
    state = snapshot(model)
    handle = quantize_(model, Precision(dtype, mode))
    changed = any(not same_bits(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert changed == (dtype != "float32" and mode != "activations_only")
    handle.restore()
    assert_same_state(model, state)
    assert not any(module._forward_hooks for module in model.modules())


def test_ten_precisions_in_a_row_equal_ten_loads():
    model = ToyModel()
    state, addresses = snapshot(model), [parameter.data_ptr() for parameter in model.parameters()]
    float32 = model(*inputs())
    chosen = [Precision(dtype, MODES[i % 3]) for i, dtype in enumerate(DTYPES)]
    for precision in chosen:
        fresh = ToyModel()
        with quantize_(model, precision), quantize_(fresh, precision):
            assert_same_state(model, fresh.state_dict())
            assert same_bits(model(*inputs()), fresh(*inputs()))
        assert_same_state(model, state)
        assert same_bits(model(*inputs()), float32)
    assert [parameter.data_ptr() for parameter in model.parameters()] == addresses


@pytest.mark.parametrize("dtype", LOSSY)
def test_every_weight_is_quantized_as_fake_quantize_does(dtype):
    model = ToyModel()
    state = snapshot(model)
    with quantize_(model, Precision(dtype)) as handle:
        for name, tensor in model.state_dict().items():
            if name == "offset":  # a buffer
                assert same_bits(tensor, state[name])
                continue
            axis = 0 if dtype in ("int8", "int4") and tensor.ndim >= 2 else None
            assert same_bits(tensor, fake_quantize(state[name], dtype, axis)), name
        parameters = list(model.parameters())
        assert handle.num_parameters == len(parameters)
        assert handle.num_elements == sum(parameter.numel() for parameter in parameters)
        assert handle.num_bytes == 4 * handle.num_elements
        assert handle.hooked == ()
        assert handle.seconds > 0


def test_tied_weights_are_quantized_once():
    model = ToyModel()
    before = model.embed.weight.clone()
    with quantize_(model, Precision("boolean")) as handle:
        assert model.head.weight is model.embed.weight
        assert same_bits(model.embed.weight.detach(), fake_quantize(before.detach(), "boolean"))
        assert handle.num_parameters == len(list(model.parameters()))


def test_weights_that_share_memory_are_restored():
    model = nn.Module()
    model.first = nn.Linear(4, 6, bias=False)
    model.same = nn.Linear(4, 6, bias=False)
    model.same.weight = nn.Parameter(model.first.weight.data)
    model.turned = nn.Linear(6, 4, bias=False)
    model.turned.weight = nn.Parameter(model.first.weight.data.t())
    state = snapshot(model)
    with quantize_(model, Precision("float8_e5m2")) as handle:
        assert handle.num_parameters == 2
        assert same_bits(model.turned.weight.detach(), fake_quantize(state["turned.weight"], "float8_e5m2"))
        assert same_bits(handle.original(model.same.weight), state["same.weight"])
    assert_same_state(model, state)


def test_weights_of_other_types_and_inference_tensors():
    model = ToyModel().to(torch.bfloat16)
    state = snapshot(model)
    with quantize_(model, Precision("float8_e4m3")):
        expected = fake_quantize(state["query"].float(), "float8_e4m3").bfloat16()
        assert same_bits(model.query.detach(), expected)
    assert_same_state(model, state)
    with torch.inference_mode():
        made_there = ToyModel()
    state = snapshot(made_there)
    with quantize_(made_there, Precision("int8")):
        assert not torch.equal(made_there.query, state["query"])
    assert_same_state(made_there, state)


def test_training_goes_on_after_restore():
    model = ToyModel()
    quantize_(model, Precision("int4", "both")).restore()
    model(*inputs()).sum().backward()
    assert model.query.grad.abs().sum() > 0


# --- activations --------------------------------------------------------------------------------------------

CALLED = {
    "vision",
    "embed",
    "head",
    *(f"blocks.{i}.{leaf}" for i in range(2) for leaf in ("norm", "up", "act", "down")),
}


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


# --- scope and life of a handle -----------------------------------------------------------------------------


def test_scope():
    model = ToyModel()
    state = snapshot(model)

    def touched(scope):
        with quantize_(model, Precision("boolean", "both", scope)) as handle:
            now = model.state_dict()
            names = {name for name in state if not same_bits(now[name], state[name])}
            return names, set(handle.hooked)

    weights, hooked = touched(Scope(r"^blocks\.1\."))
    assert hooked == {f"blocks.1.{leaf}" for leaf in ("norm", "up", "act", "down")}
    assert weights
    assert all(name.startswith("blocks.1.") for name in weights)
    weights, hooked = touched(Scope(exclude="blocks|unused"))
    assert hooked == {"vision", "embed", "head"}
    assert weights == {"vision.weight", "vision.bias", "embed.weight", "head.weight", "query"}
    # It is the module's name that counts, not the parameter's.
    assert touched(Scope(r"vision$"))[0] == {"vision.weight", "vision.bias"}
    # A parameter under two names is in scope by either.
    weights, hooked = touched(Scope("head"))
    assert (weights, hooked) == ({"embed.weight", "head.weight"}, {"head"})
    assert_same_state(model, state)


@pytest.mark.parametrize(
    ("model", "precision"),
    [
        (ToyModel(), Precision("int8", "weights_only", Scope("nowhere"))),
        (ToyModel(), Precision("int8", "activations_only", Scope("nowhere"))),
        (ToyModel(), Precision("int8", "both", Scope(r"\.act$"))),  # leaves, but without weights
        (nn.ParameterList([torch.ones(2)]), Precision("int8", "activations_only")),
    ],
)
def test_a_scope_that_matches_nothing_is_an_error(model, precision):
    with pytest.raises(UserError, match="matches no"):
        quantize_(model, precision)
    quantize_(model, Precision("int8")).restore()  # nothing was left behind


def test_a_second_precision_is_refused_until_restore():
    model = ToyModel()
    state = snapshot(model)
    handle = quantize_(model, Precision("int8"))
    with pytest.raises(RuntimeError, match="restore"):
        quantize_(model, Precision("int4"))
    with pytest.raises(RuntimeError, match="restore"):
        quantize_(model.blocks[0], Precision("int4"))
    assert handle.active
    handle.restore()
    handle.restore()
    assert not handle.active
    assert_same_state(model, state)
    with quantize_(model, Precision("int4")):
        handle.restore()  # of the earlier one: must not touch this
        assert not same_bits(model.query.detach(), state["query"])
    assert_same_state(model, state)


def test_a_failure_midway_restores(monkeypatch):
    model = ToyModel()
    state = snapshot(model)

    def fail(*_):
        raise MemoryError

    monkeypatch.setattr("headless_eval.quant.Handle._hook_activations", fail)
    with pytest.raises(MemoryError):
        quantize_(model, Precision("int8", "both"))
    assert_same_state(model, state)
    monkeypatch.undo()
    quantize_(model, Precision("int8", "both")).restore()


def test_other_peoples_hooks_survive():
    model, calls = ToyModel(), []
    model.head.register_forward_hook(lambda *_: calls.append(1))
    quantize_(model, Precision("int8", "both")).restore()
    model(*inputs())
    assert calls == [1]


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


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", DTYPES)
def test_restore_is_exact_on_a_gpu(dtype):
    model = ToyModel().cuda()
    state = snapshot(model)
    with quantize_(model, Precision(dtype, "both")) as handle:
        on_cpu = ToyModel()
        with quantize_(on_cpu, Precision(dtype)):
            for name, tensor in on_cpu.state_dict().items():
                assert torch.equal(model.state_dict()[name].cpu(), tensor), name
        model(*(tensor.cuda() for tensor in inputs()))
        assert set(handle.fired) == (CALLED if dtype != "float32" else set())
    assert_same_state(model, state)
