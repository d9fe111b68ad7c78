"""A field of a settings dataclass says all that is known of a flag."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pytest

from headless_eval.errors import UserError
from headless_eval.shared.flags import Settings, build, declared, flag, flat, with_parts


@dataclass(frozen=True, kw_only=True)
class Place(Settings):
    GROUP: ClassVar[str] = "Place"

    assets: Path | None = None
    """Folder of assets."""


@dataclass(frozen=True, kw_only=True)
class OtherPlace(Settings):
    gravity: float = 9.81


@dataclass(frozen=True, kw_only=True)
class Base(Settings):
    GROUP: ClassVar[str] = "Base"

    number: Annotated[int, flag(least=1, most=9)] = 3
    """How many."""

    rate: Annotated[float | None, flag(above=0)] = None
    """How fast,
    over two lines."""


@dataclass(frozen=True, kw_only=True)
class Derived(Base):
    number: Annotated[int, flag(least=0)] = 5

    words: Annotated[tuple[Literal["a", "b"], ...], flag(free=True)] = ()
    """Words."""

    place: Annotated[Any, flag(part=True)] = Place()
    """Where."""


def test_fields_come_in_the_order_of_the_dataclass_with_help_and_group():
    number, rate, words, place = declared(Derived)
    assert [one.name for one in (number, rate, words, place)] == ["number", "rate", "words", "place"]
    assert (number.default, number.flag.least, number.group, number.help()) == (5, 0, "Base", "How many.")
    assert (rate.help(), rate.kind, rate.many, rate.option) == (
        "How fast, over two lines.",
        float,
        False,
        "--rate",
    )
    assert (words.many, words.flag.free, words.kind) == (True, True, Literal["a", "b"])


@pytest.mark.parametrize(
    ("cls", "values", "sentence"),
    [
        (Base, {"number": 0}, "--number is 0; it must be 1 or more"),
        (Base, {"number": 10}, "--number is 10; it must be 9 or less"),
        (Base, {"rate": 0.0}, "--rate is 0; it must be above 0"),
        (Base, {"rate": float("nan")}, "--rate is nan; it must be above 0"),
        (Derived, {"words": ("a", "c")}, "--words is 'c'; it must be a or b"),
        (Derived, {"number": -1}, "--number is -1; it must be 0 or more"),
    ],
)
def test_a_value_that_is_not_allowed_is_refused(cls, values, sentence):
    with pytest.raises(UserError) as error:
        cls(**values)
    assert str(error.value) == sentence


def test_a_parts_fields_stand_beside_the_others():
    assert [one.name for one in with_parts(Derived, {"place": Place})] == [
        "number",
        "rate",
        "words",
        "assets",
    ]
    assert [one.name for one in with_parts(Derived)] == ["number", "rate", "words"]
    made = build(Derived, {"number": 4, "assets": Path("x")}, {"place": Place})
    assert made == Derived(number=4, place=Place(assets=Path("x")))
    assert {setting.name: value for setting, value in flat(made)} == {
        **{"number": 4, "rate": None, "words": ()},
        "assets": Path("x"),
    }


def test_what_is_not_given_is_kept_unless_the_part_is_another():
    before = Derived(number=4, place=Place(assets=Path("x")))
    assert build(Derived, {"number": 6}, {"place": Place}, before) == Derived(number=6, place=before.place)
    assert build(Derived, {"gravity": 1.0}, {"place": OtherPlace}, before).place == OtherPlace(gravity=1.0)
