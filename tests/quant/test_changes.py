import textwrap

import pytest
import torch
from quant_cases import ToyModel

from headless_eval.errors import UserError
from headless_eval.quant import Precision, Scope, configurations
from headless_eval.quant.changes import parse_change, stored_text

CODE = """
    def quantize(model, bits=4, matches=lambda name: True):
        for name, parameter in model.named_parameters():
            if matches(name.rpartition(".")[0]):
                parameter.data.mul_(2 ** bits).round_().div_(2 ** bits)

    def whole(model):
        quantize(model)

    def replaces(model):
        return [model]

    def breaks(model):
        raise ValueError("a bad day")

    class Method:
        pass
"""


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(textwrap.dedent(CODE))
    return str(path)


def test_a_function_is_a_precision(mine):
    precision = Precision(f"{mine}:quantize( bits = 3 )", "activations_only")
    assert precision.name == "mine_quantize_bits_3"
    assert precision.mode == "both"
    assert precision.dtype == f"{mine}:quantize(bits=3)"
    assert precision == Precision(precision.dtype) == Precision.parse(precision.dtype)
    assert precision.source["origin"]["place"] == "mine.py:quantize"
    assert precision.source["file"] == mine
    assert len(precision.source["code"]["mine.py"]) == 64
    scoped = Precision(precision.dtype, scope=Scope("head"))
    assert scoped.name.startswith("mine_quantize_bits_3_scope_")


def test_only_once_whatever_the_modes(mine):
    found = configurations(["float32", f"{mine}:whole", "int8"], ["weights_only", "both"])
    assert [one.name for one in found] == ["float32", "mine_whole", "int8_weights_only", "int8_both"]


def test_two_functions_of_one_name_are_refused():
    with pytest.raises(UserError, match=r"a\.mine:f and b\.mine:f would both be called mine_f"):
        configurations(["a.mine:f", "b.mine:f"], ["both"])


def test_it_is_given_arguments_and_scope(mine):
    model = ToyModel()
    then = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    parse_change(f"{mine}:quantize(bits=2)").apply(model, lambda name: name == "blocks.0.up")
    now = model.state_dict()
    changed = {name for name in then if not torch.equal(then[name], now[name])}
    assert changed == {"blocks.0.up.weight", "blocks.0.up.bias"}
    assert (now["blocks.0.up.weight"] * 4 % 1 == 0).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("whole", "takes no argument 'matches'"),
        ("replaces", "returned a list: it has to change the given model in place"),
        ("breaks", r"failed \(ValueError: a bad day, mine.py line 14\)"),
    ],
)
def test_what_goes_wrong_is_one_line(mine, call, message):
    matches = (lambda name: True) if call == "whole" else None
    with pytest.raises(UserError, match=message):
        parse_change(f"{mine}:{call}").apply(ToyModel(), matches)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("quantise", "did you mean quantize"),
        ("Method", "is a type: name a function"),
        (
            "quantize(bit=3)",
            "unexpected keyword argument 'bit'; the function's arguments are model, bits, matches",
        ),
    ],
)
def test_mistakes_show_before_anything_is_loaded(mine, call, message):
    with pytest.raises(UserError, match=message):
        parse_change(f"{mine}:{call}").check()


def test_a_colon_without_a_function_is_refused():
    with pytest.raises(UserError, match="write module:function"):
        Precision("mine:")
    with pytest.raises(UserError, match="nothing else is evaluated"):
        Precision("mine:f(x=open('y'))")
    assert parse_change("int8") is None


def test_a_stored_text_means_the_same_elsewhere(mine, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert stored_text("./mine.py:quantize(bits=3)") == f"{mine}:quantize(bits=3)"
    assert stored_text("mine:quantize") == "mine:quantize"
    assert stored_text("int8") == "int8"
