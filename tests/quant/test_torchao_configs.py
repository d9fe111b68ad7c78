import sys

import pytest
import torch
from quant_cases import ToyStack, assert_same_state, same_bits, snapshot, stack_inputs

from headless_eval.errors import UserError
from headless_eval.quant import Precision, Scope, quantize_, torchao_configs
from headless_eval.quant.handle import nbytes


@pytest.mark.parametrize(
    ("text", "name", "mode"),
    [
        (
            "torchao:Int4WeightOnlyConfig(group_size=32)",
            "torchao_int4_weight_only_group_size_32",
            "weights_only",
        ),
        ("torchao:Int8WeightOnlyConfig()", "torchao_int8_weight_only", "weights_only"),
        (
            "torchao:IntxWeightOnlyConfig(weight_dtype=torch.int4, granularity=PerGroup(32))",
            "torchao_intx_weight_only_weight_dtype_int4_granularity_PerGroup_32",
            "weights_only",
        ),
        (
            "torchao:Float8DynamicActivationFloat8WeightConfig(granularity=PerRow())",
            "torchao_float8_dynamic_activation_float8_weight_granularity_PerRow",
            "both",
        ),
    ],
)
def test_names(text, name, mode):
    precision = Precision(text)
    assert (precision.name, precision.mode) == (name, mode)
    assert Precision(precision.dtype) == precision


def test_nothing_is_evaluated():
    with pytest.raises(UserError, match="nothing else is evaluated"):
        Precision("torchao:Int4WeightOnlyConfig(group_size=os.system('x'))")


def test_without_torchao_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchao.quantization", None)
    monkeypatch.setattr(torchao_configs, "_installed", lambda: False)
    with pytest.raises(UserError, match=r"need the extra torchao: .*headless-eval\[torchao\]"):
        Precision("torchao:Int8WeightOnlyConfig").change.check()


@pytest.fixture(scope="module")
def torchao():
    return pytest.importorskip("torchao", reason="the extra torchao is not installed")


@pytest.mark.slow  # importing torchao takes seconds
@pytest.mark.parametrize("text", ["Int8WeightOnlyConfig()", "Int8DynamicActivationInt8WeightConfig()"])
def test_torchao_quantizes_and_all_comes_back(torchao, text):
    model = ToyStack().eval()
    state, inputs = snapshot(model), stack_inputs()
    then = model(inputs)
    with quantize_(model, Precision(f"torchao:{text}")) as handle:
        now = model(inputs)
        assert 0 < (now - then).abs().max() < 0.3 * then.abs().max()
        assert handle.hooked == handle.fired
        assert sum(map(nbytes, model.parameters())) < 0.6 * sum(tensor.nbytes for tensor in state.values())
        for name, tensor in handle.state(model):
            assert same_bits(tensor.detach(), state[name])
        for name, tensor in handle.effective_parameters(model):
            assert (tensor - state[name]).abs().max() < 0.05, name
    assert_same_state(model, state)
    assert same_bits(model(inputs).detach(), then.detach())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Int8WeightOnly", "did you mean Int8WeightOnlyConfig"),
        (
            "Int8WeightOnlyConfig(group=3)",
            "unexpected keyword argument 'group'; its arguments are group_size",
        ),
        (
            "Int8WeightOnlyConfig(granularity=PerRaw())",
            "unknown value of torchao 'PerRaw': did you mean PerRow",
        ),
        ("Int4WeightOnlyConfig(group_size=32)", r"left all \d layers in scope as they are, such as embed"),
        (
            "IntxWeightOnlyConfig(granularity=PerGroup(32))",
            r"torchao cannot apply .* here \(AssertionError: .*; the layer is embed, which --exclude",
        ),
    ],
)
def test_what_torchao_cannot_do_is_one_line(torchao, text, message):
    model = ToyStack()
    state = snapshot(model)
    with pytest.raises(UserError, match=message) as caught:
        quantize_(model, Precision(f"torchao:{text}"))
    assert "\n" not in str(caught.value)
    assert_same_state(model, state)


@pytest.mark.slow
def test_scopes_limit_torchao(torchao):
    model = ToyStack()
    names = [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
    with quantize_(model, Precision("torchao:Int8WeightOnlyConfig", scope=Scope(f"^{names[0]}$"))) as handle:
        assert handle.hooked == (names[0],)
    with pytest.raises(UserError, match="matches no linear layer"):
        quantize_(model, Precision("torchao:Int8WeightOnlyConfig", scope=Scope("nowhere")))
