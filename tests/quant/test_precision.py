import subprocess
import sys

import pytest

from headless_eval.errors import UserError
from headless_eval.quant import BENCHMARK_DTYPES, DTYPES, MODES, Precision, Scope, configurations
from headless_eval.quant.methods import Bits


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


def test_a_method_has_one_mode_and_runs_once():
    found = configurations(["int4", "float32", "duquant_w4a8", "rtn_w4a16"], ["weights_only", "both"])
    assert [one.name for one in found] == [
        *("float32", "int4_weights_only", "int4_both", "duquant_w4a8", "rtn_w4a16")
    ]
    assert [one.mode for one in found[-2:]] == ["both", "weights_only"]


def test_bits_by_layer():
    scope = Scope(bits=(("up", "w8a8"), ("blocks.1", "a4"), ("down", "16")))
    assert scope.bits_for(["blocks.1.up"], Bits(4, 8)) == Bits(8, 8)
    assert scope.bits_for(["blocks.1.down"], Bits(4, 8)) == Bits(4, 4)
    assert scope.bits_for(["blocks.0.down"], Bits(4, 8)) == Bits(16, 8)
    one, other = (Precision("rtn_w4a8", scope=Scope(bits=(("up", bits),))) for bits in ("8", "6"))
    assert one.name != other.name
    assert "up=8" in str(one.scope)
    assert Precision("int8", scope=scope).name == "int8_weights_only"  # a dtype has no bits to change
    with pytest.raises(UserError, match="write w4a8"):
        Scope(bits=(("up", "many"),))
