"""Margins of outcomes as users write them."""

import pytest

from headless_eval.config.margins import Margin, parse_margin
from headless_eval.errors import UserError


@pytest.mark.parametrize(
    ("text", "margin"),
    [
        ("time_to_success=10%", Margin("time_to_success", 10, "%")),
        ("path_length=0.5rad", Margin("path_length", 0.5, "rad")),
        ("final_error=1 mm", Margin("final_error", 1, "mm")),
        ("drops=.25", Margin("drops", 0.25, "")),
        ("final_error_deg=2°", Margin("final_error_deg", 2, "°")),
        ("jerk=3rad/s³", Margin("jerk", 3, "rad/s³")),
    ],
)
def test_a_margin_has_a_number_and_a_unit(text, margin):
    assert parse_margin("--max-change", text) == margin


@pytest.mark.parametrize(
    "text", ["drops", "drops=", "=1", "drops=-1", "drops=1%mm2", "drops=a", "drops=1=2", "a b=1"]
)
def test_other_forms_are_refused_with_an_example(text):
    with pytest.raises(UserError, match=r"--max-change .* such as time_to_success=10%"):
        parse_margin("--max-change", text)


def test_a_margin_is_shown_as_it_is_written():
    assert [str(parse_margin("", text)) for text in ("a=10%", "a=0.5mm", "a=3")] == ["10%", "0.5 mm", "3"]
