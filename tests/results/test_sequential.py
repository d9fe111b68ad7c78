"""The anytime test: its wealth is what it should be, it errs as seldom as it says, and it decides."""

from math import comb

import numpy as np
import pytest

from headless_eval.results.sequential import SequentialTest


def feed(test: SequentialTest, lost: int = 0, gained: int = 0, equal: int = 0) -> SequentialTest:
    for count, pair in ((lost, (True, False)), (gained, (False, True)), (equal, (True, True))):
        for _ in range(count):
            test.update(*pair)
    return test


def test_wealth_is_mackays_evidence() -> None:
    # MacKay, "Information Theory, Inference, and Learning Algorithms" (2003), section 3.3: 140 heads in 250 tosses
    # have a likelihood ratio of 0.48, of an even mixture over all coins to the fair one. Bets on both sides are it.
    worse = feed(SequentialTest(margin=None), lost=140, gained=110).evidence_worse
    better = feed(SequentialTest(margin=None), lost=110, gained=140).evidence_worse
    assert (worse + better) / 2 == pytest.approx(2**250 / (251 * comb(250, 110)), rel=1e-3)
    assert round((worse + better) / 2, 2) == 0.48


def test_seven_losses_in_a_row_decide_and_six_do_not() -> None:
    # The mean over stakes of (1 + stake)^n is (2^(n + 1) - 1) / (n + 1): 18.1 for n = 6, 31.9 for 7.
    test = feed(SequentialTest(), lost=6)
    assert test.decision == "continue"
    assert test.evidence_worse == pytest.approx(127 / 7, rel=1e-3)
    assert feed(test, lost=1).decision == "worse"
    assert test.pairs == 7


def test_equal_pairs_decide_that_there_is_no_drop_as_large_as_the_margin() -> None:
    test = SequentialTest(margin=0.1)
    while test.update(True, True) == "continue":
        assert test.evidence_worse == 1
    assert test.decision == "not_worse"
    assert 35 < test.pairs < 50
    assert feed(SequentialTest(margin=None), equal=500).decision == "continue"


def test_a_decision_stays() -> None:
    test = feed(SequentialTest(), lost=20)
    assert feed(test, gained=300, equal=300).decision == "worse"
    assert test.evidence_worse < 1


def simulate(
    rng: np.random.Generator, lost: float, gained: float, pairs: int, alpha: float, margin: float | None
) -> str:
    """Return the decision of one test that stops when it is made."""
    test = SequentialTest(alpha, margin)
    for draw in rng.random(pairs):
        pair = (True, False) if draw < lost else (False, True) if draw < lost + gained else (True, True)
        if test.update(*pair) != "continue":
            break
    return test.decision


@pytest.mark.parametrize(
    ("lost", "gained", "margin", "wrong"),
    [
        (0.10, 0.10, None, "worse"),  # no drop
        (0.30, 0.30, None, "worse"),
        (0.20, 0.00, 0.2, "not_worse"),  # a drop of just the margin
        (0.25, 0.05, 0.2, "not_worse"),
    ],
)
def test_errs_in_at_most_alpha_of_all_runs_though_it_looks_after_every_pair(
    lost: float, gained: float, margin: float | None, wrong: str
) -> None:
    runs, alpha = 400, 0.1
    rng = np.random.default_rng([7, round(100 * lost), round(100 * gained)])
    errors = [simulate(rng, lost, gained, 250, alpha, margin) for _ in range(runs)].count(wrong)
    # Three standard errors above alpha at most.
    assert errors / runs <= alpha + 3 * (alpha * (1 - alpha) / runs) ** 0.5
    assert errors > 0, "the test has power, so that it errs now and then"


def test_finds_real_differences_in_few_pairs() -> None:
    rng = np.random.default_rng(7)
    decisions = [simulate(rng, 0.35, 0.05, 200, 0.05, 0.1) for _ in range(100)]
    assert decisions.count("worse") >= 97
    decisions = [simulate(rng, 0.02, 0.02, 400, 0.05, 0.1) for _ in range(100)]
    assert decisions.count("not_worse") >= 90


@pytest.mark.parametrize(("alpha", "margin"), [(0, 0.1), (1, 0.1), (0.05, 0), (0.05, 1)])
def test_refuses_settings_out_of_range(alpha: float, margin: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        SequentialTest(alpha, margin)
