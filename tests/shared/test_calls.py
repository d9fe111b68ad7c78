import pytest

from headless_eval.errors import UserError
from headless_eval.shared.calls import Call, clean


@pytest.mark.parametrize(
    ("text", "place", "values"),
    [
        ("my_module:quantize", "my_module:quantize", {}),
        ("./a/mine.py:quantize(bits=4)", "./a/mine.py:quantize", {"bits": 4}),
        ("pkg.sub:Thing.make(x=-1.5, names=['a', 'b'], on=True)", "pkg.sub:Thing.make", None),
        ("a:b( text = 'x, y' )", "a:b", {"text": "x, y"}),
        ("a:b()", "a:b", {}),
    ],
)
def test_a_call_is_a_place_and_literals(text, place, values):
    call = Call.parse(text)
    assert call.place == place
    assert call.values() == ({"x": -1.5, "names": ["a", "b"], "on": True} if values is None else values)
    assert Call.parse(str(call)) == call


@pytest.mark.parametrize("text", ["int8", "ws://localhost:8000", "duquant_w4a8", "a:", ":b", "gs://bucket/x"])
def test_other_texts_are_no_calls(text):
    assert Call.parse(text) is None


@pytest.mark.parametrize("text", ["a:b(4)", "a:b(x=)", "a:b(**x)", "a:b(x=1)(y=2)"])
def test_arguments_have_names(text):
    with pytest.raises(UserError, match=r"write arguments as \(name=value, other=value\)"):
        Call.parse(text)


@pytest.mark.parametrize("value", ["open('x')", "__import__('os')", "a.b", "lambda: 1", "[x for x in y]"])
def test_nothing_is_evaluated(value):
    call = Call.parse(f"a:b(x={value})")
    with pytest.raises(UserError, match="nothing else is evaluated"):
        call.values()


def test_names_for_files():
    assert clean("mine_quantize", {"bits": 4, "keep": ["a/b", "c"]}) == "mine_quantize_bits_4_keep_a_b_c"
    long = clean("f", {"x": "y" * 60})
    assert len(long) == len("f_x_") + 8
    assert clean("f", {"x": "y" * 61}) != long
