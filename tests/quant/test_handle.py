import pytest
import torch
from quant_cases import (
    CALLED,
    METHOD_NAMES,
    ToyModel,
    ToyStack,
    assert_same_state,
    calibration_of,
    inputs,
    same_bits,
    snapshot,
    stack_inputs,
)

from headless_eval.quant import DTYPES, MODES, Precision, RoundToNearest, quantize_


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


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


def test_training_goes_on_after_restore():
    model = ToyModel()
    quantize_(model, Precision("int4", "both")).restore()
    model(*inputs()).sum().backward()
    assert model.query.grad.abs().sum() > 0


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


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_restoring_brings_back_every_bit(name):
    model, x = ToyStack(), stack_inputs()
    calibration, state, expected = calibration_of(model, x), snapshot(model), model(x)
    for _ in range(2):
        with quantize_(model, Precision(name), calibration=calibration) as handle:
            assert not same_bits(model(x), expected)
            assert set(handle.layers) == {f"blocks.{i}.{leaf}" for i in range(2) for leaf in ("up", "down")}
            assert handle.fired == handle.hooked == handle.linears_with_hooks or name == "rtn_w4a16"
            assert handle.packed_bytes > 0
        assert all(same_bits(tensor, state[key]) for key, tensor in model.state_dict().items())
        assert same_bits(model(x), expected)
    assert model.embed._forward_pre_hooks == model.blocks[0].up._forward_pre_hooks == {}


def test_weights_alone_need_no_hooks():
    model = ToyStack()
    with quantize_(model, RoundToNearest(4, 16)) as handle:
        assert handle.hooked == handle.linears_with_hooks == ()
        assert same_bits(model.blocks[0].up.weight.detach(), handle.layers["blocks.0.up"].packed.unpack())


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
