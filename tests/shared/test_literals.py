"""Words of a command line as values."""

import pytest

from headless_eval.errors import UserError
from headless_eval.shared.literals import read_arguments, read_literal


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8", 8),
        ("1e-3", 0.001),
        ("true", True),
        ("null", None),
        ('"8"', "8"),
        ("[1, 2]", [1, 2]),
        ("{a = 1}", {"a": 1}),
        ('{"a": null}', {"a": None}),
        ("here/weights.pt", "here/weights.pt"),
        ("2026-01-01", "2026-01-01"),
        ("007", "007"),
        ("1\nother = 2", "1\nother = 2"),
        ("__import__('os')", "__import__('os')"),
        ("[" * 100_000, "[" * 100_000),
    ],
)
def test_literals_are_read_and_other_text_is_text(text, value):
    assert read_literal(text) == value


def test_arguments_have_a_name_each():
    assert read_arguments(["scale=0.5", "path=a=b"], "--x") == {"scale": 0.5, "path": "a=b"}
    for words, message in ((["scale"], "NAME=VALUE"), (["a b=1"], "NAME=VALUE"), (["a=1", "a=2"], "twice")):
        with pytest.raises(UserError, match=f"--x .*{message}"):
            read_arguments(words, "--x")
