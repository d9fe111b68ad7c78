"""Preflight checks that all families share: what stops a load, what is skipped, and what is examined."""

import pytest

from headless_eval.errors import UserError
from headless_eval.policies.checks import FAILED, OK, SKIPPED, WARNING
from headless_eval.policies.preflight import make_checks, refuse_failures


def failing(found):
    raise UserError("the files are gone")


STEPS = {
    "first": lambda found: (OK, f"{found} is fine"),
    "second": lambda found: (WARNING, "look at it"),
    "third": failing,
    "fourth": lambda found: (OK, "after the third"),
    "fifth": lambda found: (OK, "by itself"),
}


def test_checks_after_a_failed_one_are_skipped_and_the_others_made():
    checks = list(make_checks(STEPS, "it", {"fourth": ("third",)}))
    assert [check.name for check in checks] == list(STEPS)
    assert [check.status for check in checks] == [OK, WARNING, FAILED, SKIPPED, OK]
    assert checks[0].text == "it is fine"
    assert checks[2].text == "the files are gone"
    assert "third" in checks[3].text


def test_a_load_is_refused_by_the_first_failure_unless_the_check_is_left_out():
    with pytest.raises(UserError, match="the files are gone"):
        refuse_failures(STEPS, "it", ())
    refuse_failures(STEPS, "it", ("third",))
    with pytest.raises(UserError, match="too large"):
        refuse_failures({"size": lambda found: (FAILED, "too large")}, "it", ())
