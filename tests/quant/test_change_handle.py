import pytest
import torch
from quant_cases import ToyModel, assert_same_state, same_bits, snapshot

from headless_eval.errors import UserError
from headless_eval.quant import Precision, Scope, quantize_
from headless_eval.quant.handle import is_quantized

CODE = """
import torch
from torch import nn


def halves(model, matches=lambda name: True):
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and matches(name):
            module.weight = nn.Parameter(module.weight.detach().half().float())


def hooked(model):
    model.head.register_forward_hook(lambda module, args, output: output.round())


def nothing(model):
    pass


def breaks(model):
    model.head.weight.data.zero_()
    raise RuntimeError("half way")
"""


@pytest.fixture
def mine(tmp_path):
    (tmp_path / "mine.py").write_text(CODE)
    return f"{tmp_path / 'mine.py'}"


def test_a_function_changes_a_model_and_all_comes_back(mine):
    model = ToyModel()
    state = snapshot(model)
    inputs = torch.randn(2, 3, 8, 8), torch.randint(0, 32, (2, 5))
    then = model(*inputs)
    with quantize_(model, Precision(f"{mine}:halves")) as handle:
        assert is_quantized(model)
        linear = {"head", "unused", *(f"blocks.{i}.{name}" for i in range(2) for name in ("up", "down"))}
        assert set(handle.hooked) == set(handle.fired) == linear
        assert handle.num_parameters == 6
        assert not same_bits(model(*inputs), then)
        for name, tensor in handle.state(model):
            assert same_bits(tensor.detach(), state[name]), name
        assert dict(handle.effective_parameters(model))["head.weight"] is model.head.weight
        assert handle.needs_modules
    assert not is_quantized(model)
    assert_same_state(model, state)
    assert model.head.weight is model.embed.weight
    assert same_bits(model(*inputs), then)


def test_a_function_that_only_hooks_counts(mine):
    model = ToyModel()
    inputs = torch.randn(2, 3, 8, 8), torch.randint(0, 32, (2, 5))
    then = model(*inputs)
    with quantize_(model, Precision(f"{mine}:hooked")) as handle:
        assert handle.hooked == ()
        assert same_bits(model(*inputs), then.round())
    assert same_bits(model(*inputs), then)


@pytest.mark.parametrize(
    ("name", "scope", "message"),
    [
        ("nothing", Scope(), "changed nothing in the ToyModel"),
        ("halves", Scope("vision"), "scope 'vision' matches no module that it changes"),
        ("breaks", Scope(), r"failed \(RuntimeError: half way"),
    ],
)
def test_a_failure_leaves_the_model_as_it_was(mine, name, scope, message):
    model = ToyModel()
    state = snapshot(model)
    with pytest.raises(UserError, match=message):
        quantize_(model, Precision(f"{mine}:{name}", scope=scope))
    assert_same_state(model, state)
    assert not is_quantized(model)
