"""TOML tables to and from dataclasses."""

import tomllib
from dataclasses import dataclass

import pytest

from headless_eval.errors import UserError
from headless_eval.shared.toml import from_table, read_toml, to_toml


@dataclass(frozen=True)
class Part:
    width: int
    rate: float = 0.5


@dataclass(frozen=True)
class Example:
    name: str
    part: Part
    sizes: tuple[int, ...] = ()
    words: tuple[str, ...] | None = None
    flag: bool = False

    def __post_init__(self):
        if self.name == "refused":
            raise ValueError("the name is refused")


WHOLE = {"name": 'a "π"\n', "part": {"width": 3}, "sizes": [1, 2], "words": ["a"], "flag": True}


def test_a_table_survives_being_written_and_read(tmp_path):
    path = tmp_path / "table.toml"
    path.write_text(to_toml(WHOLE | {"left_out": None, "deeper": {"still": {"x": 1}}}), "utf-8")
    read = read_toml(path)
    assert read.pop("deeper") == {"still": {"x": 1}}
    assert read == WHOLE
    assert tomllib.loads(to_toml({})) == {}


def test_a_table_becomes_a_dataclass():
    assert from_table(Example, WHOLE) == Example(WHOLE["name"], Part(3), (1, 2), ("a",), True)
    rate = from_table(Example, WHOLE | {"part": {"width": 3, "rate": 1}}).part.rate
    assert (rate, type(rate)) == (1.0, float)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"nam": "x"}, "unknown key 'nam': known are name, part"),
        ({"part": {}}, "the key 'part.width' is missing"),
        ({"part": 3}, "'part' is no table"),
        ({"part": {"width": 0}}, "'part.width' is 0: it has to be a whole number above 0"),
        ({"part": {"width": True}}, "a whole number above 0"),
        ({"part": {"width": 1, "rate": float("inf")}}, "a finite number"),
        ({"flag": 1}, "'flag' is 1: it has to be true or false"),
        ({"name": 1}, "a string"),
        ({"sizes": [1, "2"]}, "a list of int"),
        ({"sizes": 1}, "a list of int"),
        ({"name": "refused"}, "the name is refused"),
    ],
)
def test_a_wrong_entry_is_named(changes, message):
    with pytest.raises(UserError) as error:
        from_table(Example, WHOLE | changes)
    assert message in str(error.value)


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read_toml(tmp_path / "absent.toml")
    (tmp_path / "bad.toml").write_text("a = ")
    with pytest.raises(UserError, match="cannot be read"):
        read_toml(tmp_path / "bad.toml")
