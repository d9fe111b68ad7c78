"""Certificates of any content: they are checked or refused in one line."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from properties import anything, few, outcome

from headless_eval.config.results import VerifyConfig
from headless_eval.runs.certificate.document import Certificate, decode
from headless_eval.runs.certificate.loading import settings_to_check
from headless_eval.runs.certificate.statistics import first_difference, missing_trials, statistics_of


def check(data: bytes, path: Any) -> None:
    """Do what needs neither policy nor simulator; an error has to be one line."""
    certificate = outcome(lambda: decode(data, path))
    if isinstance(certificate, Certificate):
        missing_trials(certificate)
        first_difference(certificate.statistics, statistics_of(certificate))
        outcome(lambda: settings_to_check(certificate, VerifyConfig(directories=(path,)), cuda=False))


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the places of all values in a nested one."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, one in inner for place in places(one, (*path, key)))]


@few
@given(draw=st.data())
def test_any_value_anywhere(draw: st.DataObject, certified: Any) -> None:
    table = json.loads(certified.read_text())
    *outer, last = draw.draw(st.sampled_from(places(table)[1:]))
    inner = table
    for key in outer:
        inner = inner[key]
    inner[last] = draw.draw(anything)
    check(json.dumps(table).encode(), certified)


@few
@given(at=st.floats(0, 1), length=st.integers(0, 40), new=st.binary(max_size=20))
def test_any_damage(at: float, length: int, new: bytes, certified: Any) -> None:
    data = certified.read_bytes()
    start = int(at * len(data))
    check(data[:start] + new + data[start + length :], certified)
