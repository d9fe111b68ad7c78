import pytest
import torch
from quant_cases import LOSSY, ToyModel, assert_same_state, same_bits, snapshot
from torch import nn

from headless_eval.quant import Precision, fake_quantize, quantize_


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


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
