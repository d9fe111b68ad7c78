"""Episodes that were run again, to the bit and by chance."""

import base64
from dataclasses import replace

import numpy as np
import pytest

from headless_eval.results import RunDirectory
from headless_eval.runs.certificate.contents import first_action
from headless_eval.runs.certificate.document import Episode
from headless_eval.runs.certificate.repeated import Repeated, compare

ACTIONS = np.linspace(-1, 1, 24, dtype=np.float32).reshape(3, 8)


@pytest.fixture(scope="module")
def record(finished):
    return RunDirectory.open(finished).records()[0]


def repeated(record, number, *, shift=None, status="failure", stated="failure", error=None):
    """An episode of 3 actions; here the first is shifted, None for the same."""
    now = replace(
        record,
        episode=number,
        status=status,
        success=status == "success",
        steps=3,
        actions_sha256="0" * 64 if shift is None else "1" * 64,
        error=error,
        reason=None,
    )
    then = Episode(
        "float32", 1, number, stated, 3, 1, record.initial_state_sha256, "0" * 64, first_action(ACTIONS)
    )
    return Repeated(then, now, first_action(ACTIONS + np.float32(shift or 0)))


def said(episodes, exact, total=100):
    return {one.subject: one for one in compare(episodes, exact, "drawn", total)}


def test_the_first_action_is_kept_to_the_bit():
    assert np.array_equal(np.frombuffer(base64.b64decode(first_action(ACTIONS)), "<f4"), ACTIONS[0])
    assert first_action(None) is first_action(ACTIONS[:0]) is None


def test_the_same_to_the_bit(record):
    found = said([repeated(record, number) for number in range(10)], exact=True)
    assert found["actions"].text == "10 of 10 bit for bit"
    # 0.05 ** (1 / 10): with a smaller share of true ones, 10 of 10 would come up in less than 5 % of the draws.
    assert "at least 74 % of all 100 are true, at 95 % confidence" in found["outcomes"].text
    assert {one.result for one in found.values()} == {"holds"}


def test_a_sample_of_all_needs_no_confidence(record):
    found = said([repeated(record, number) for number in range(10)], exact=True, total=10)
    assert found["outcomes"].text == "10 of 10 as stated, 0 of them successful"


def test_other_bits_are_refuted_on_the_same_machine_alone(record):
    episodes = [repeated(record, 0), repeated(record, 1, shift=0.25), repeated(record, 2, shift=0.0)]
    here, elsewhere = said(episodes, exact=True)["actions"], said(episodes, exact=False)["actions"]
    assert here.result == "DOES NOT HOLD"
    assert here.details[0] == (
        "float32, task 1, episode 1: the first action differs by at most 0.25; 3 steps stated, 3 here"
    )
    assert elsewhere.result == "consistent"
    assert elsewhere.text == (
        "1 of 3 bit for bit; in 1 of the other 2 the first action is the same, in the rest it differs by at most 0.25"
    )


@pytest.mark.parametrize(("lost", "result"), [(1, "consistent"), (5, "consistent"), (6, "DOES NOT HOLD")])
def test_successes_elsewhere_are_compared_in_pairs(record, lost, result):
    episodes = [
        repeated(
            record, number, shift=0.1, stated="success", status="failure" if number < lost else "success"
        )
        for number in range(12)
    ]
    found = said(episodes, exact=False)["outcomes"]
    assert found.result == result
    assert f"success {12 - lost} of 12 where the certificate says 12 of 12" in found.text


def test_another_initial_state_holds_nowhere(record):
    one = repeated(record, 0)
    one.then.initial_state_sha256 = "f" * 64
    assert said([one], exact=False)["initial states"].result == "DOES NOT HOLD"
    one.then.initial_state_sha256 = None
    assert said([one], exact=False)["initial states"].result == "not checked"


def test_errors_here_are_told(record):
    error = {"type": "MemoryError", "message": "all of it", "traceback": ""}
    episodes = [repeated(record, 0), repeated(record, 1, status="error", error=error)]
    first, *others = compare(episodes, True, "drawn", 100)
    assert (first.result, first.text) == ("DOES NOT HOLD", "1 of 2 ended in an error here")
    assert first.details == ("float32, task 1, episode 1: MemoryError: all of it",)
    assert {one.subject: one.text for one in others}["actions"] == "1 of 1 bit for bit"
    assert [one.result for one in compare(episodes[1:], True, "drawn", 100)] == [
        "DOES NOT HOLD",
        "not checked",
    ]


def test_what_is_no_first_action_is_not_compared(record):
    one = repeated(record, 0, shift=1.0)
    for text in ("AAAA", "no base64!", None):
        one.then.first_action = text
        assert one.action_difference() is None
    assert "other actions" in said([one], exact=False)["actions"].details[0]
