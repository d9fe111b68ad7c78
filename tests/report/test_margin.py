"""Judgements about a margin: how often they are wrong, by simulation, and how many pairs they ask for."""

import numpy as np
import pytest

from headless_eval.report.comparison import compare_counts
from headless_eval.report.margin import judge_change, judge_interval, judge_pairs
from headless_eval.report.paired import Change
from headless_eval.report.statistics import Interval
from headless_eval.results.sequential import MarginTest


def shares(
    pairs: int, drop: float, margin: float, rate: float = 0.95, gained: float = 0.02, runs: int = 3000
):
    """Return how often each answer is given to runs of so many pairs whose success truly drops by so much."""
    chances = [rate - gained - drop, gained, gained + drop, max(0.0, 1 - rate - gained)]
    draws = np.random.default_rng(7).multinomial(pairs, chances, runs)
    answers: dict[str, float] = dict.fromkeys(("within", "beyond", "inconclusive"), 0.0)
    counts, times = np.unique(draws, axis=0, return_counts=True)
    for count, number in zip(counts.tolist(), times.tolist(), strict=True):
        answers[judge_interval(compare_counts(*count), margin).answer] += number / runs
    return answers


def off(probability: float, runs: int) -> float:
    return 3 * (probability * (1 - probability) / runs) ** 0.5


@pytest.mark.parametrize("pairs", [15, 60, pytest.param(300, marks=pytest.mark.slow)])
def test_a_drop_of_the_margin_passes_in_no_more_than_one_run_of_forty(pairs):
    assert shares(pairs, 0.05, 0.05)["within"] <= 0.025 + off(0.025, 3000)


@pytest.mark.parametrize("drop", [0.1, 0.2, 0.3])
@pytest.mark.parametrize("pairs", [15, 60])
def test_larger_drops_do_not_pass(pairs, drop):
    """Judged by "no significant difference", 15 pairs pass true drops of 10, 20 and 30 points in 99, 93 and 72 %."""
    assert shares(pairs, drop, 0.05)["within"] <= 0.003


@pytest.mark.parametrize("pairs", [60, pytest.param(300, marks=pytest.mark.slow)])
def test_no_drop_fails_in_no_more_than_one_run_of_forty(pairs):
    assert shares(pairs, 0.0, 0.05)["beyond"] <= 0.025 + off(0.025, 3000)
    assert shares(pairs, 0.05, 0.05)["beyond"] <= 0.025 + off(0.025, 3000)


@pytest.mark.slow
def test_enough_pairs_pass_what_does_not_drop_and_fail_what_does():
    assert shares(300, 0.0, 0.05)["within"] >= 0.95
    assert shares(300, 0.2, 0.05)["beyond"] >= 0.95


@pytest.mark.parametrize("counts", [(26, 0, 4, 0), (57, 2, 1, 0), (40, 3, 9, 8)])
def test_the_pairs_asked_for_decide_in_most_runs(counts):
    one = compare_counts(*counts)
    judged = judge_interval(one, 0.05)
    assert judged.answer == "inconclusive"
    needed, total = judged.pairs_needed, sum(counts)
    rate = (one.both + one.lost) / total
    found = shares(needed, -one.difference, 0.05, rate, one.gained / total, runs=1000)
    assert 0.7 <= found["within"] + found["beyond"] <= 0.93


def test_equal_pairs_pass_from_a_number_on_and_a_drop_of_the_margin_never_decides():
    assert [judge_interval(compare_counts(n, 0, 0, 0), 0.05) for n in (72, 73)] == [
        ("inconclusive", 73),
        ("within", None),
    ]
    assert judge_interval(compare_counts(95, 0, 5, 0), 0.05) == ("inconclusive", None)


def test_a_margin_of_nothing_is_passed_by_what_is_shown_to_be_better():
    assert judge_interval(compare_counts(40, 20, 0, 0), 0.0).answer == "within"
    assert judge_interval(compare_counts(60, 0, 0, 0), 0.0) == ("inconclusive", None)


@pytest.mark.slow
@pytest.mark.parametrize("answer", ["within", "beyond"])
def test_betting_on_pairs_is_rarely_wrong_at_the_margin_however_often_it_is_looked_at(answer):
    drop = 0.05
    generator, runs, wrong = np.random.default_rng(3), 300, 0
    for _ in range(runs):
        draws = generator.choice(3, size=150, p=[0.1, 0.1 + drop, 0.8 - drop])
        test = MarginTest(alpha=0.05, margin=0.05)
        for draw in draws:
            test.update(*((False, True), (True, False), (True, True))[draw])
        wrong += test.decision == answer
    assert wrong / runs <= 0.05 + off(0.05, runs)


def test_betting_decides_plain_cases_and_says_how_many_pairs_others_need():
    assert judge_pairs([(True, True)] * 88, 0.05, 0.05) == ("within", None)
    assert judge_pairs([(True, True)] * 60, 0.05, 0.05) == ("inconclusive", 88)
    assert judge_pairs([(True, False)] * 12, 0.05, 0.05) == ("beyond", None)
    assert judge_pairs([], 0.05, 0.05) == ("inconclusive", None)


def change(low: float, value: float, high: float) -> Change:
    return Change(value, Interval(low, high), Interval(low, high))


@pytest.mark.parametrize(
    ("interval", "worse", "answer"),
    [
        ((-1.0, 0.0, 0.9), "more", "within"),
        ((-9.0, -5.0, 0.9), "more", "within"),
        ((1.1, 2.0, 3.0), "more", "beyond"),
        ((0.5, 0.8, 1.2), "more", "inconclusive"),
        ((-0.9, 0.0, 9.0), "less", "within"),
        ((-3.0, -2.0, -1.1), "less", "beyond"),
        ((-0.9, 0.0, 0.9), None, "within"),
        ((-1.1, 0.0, 0.9), None, "inconclusive"),
        ((-3.0, -2.0, -1.1), None, "beyond"),
        ((1.1, 2.0, 3.0), None, "beyond"),
        ((0.2, 0.6, 1 - 1e-12), "more", "inconclusive"),
    ],
)
def test_a_change_is_judged_in_its_worse_direction(interval, worse, answer):
    assert judge_change(change(*interval), 1.0, 20, worse).answer == answer


def test_the_pairs_that_a_change_needs_are_those_with_an_interval_as_short():
    assert (
        judge_change(change(-2.0, 0.0, 2.0), 1.0, 20, "more").pairs_needed == 164
    )  # 20 times 4 times 1.43 squared
    assert judge_change(change(0.0, 1.0, 2.0), 1.0, 20, "more").pairs_needed is None
