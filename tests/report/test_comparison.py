"""Comparisons over the same episodes, and over episodes that are not known to be the same."""

from dataclasses import replace

import pytest
from record_cases import record
from scipy.stats import binom, fisher_exact

from headless_eval.report.comparison import (
    Independent,
    Paired,
    compare_episodes,
    compare_pairs,
    episodes_of,
    names_of_tests,
)
from headless_eval.report.margin import judge_interval
from headless_eval.report.power import detectable_drop_of_samples, episodes_needed
from headless_eval.report.statistics import fisher_exact as our_fisher
from headless_eval.report.statistics import newcombe_interval
from headless_eval.results.pairing import Pairs


@pytest.mark.parametrize(
    ("counts", "interval"),
    [
        ((56, 70, 48, 80), (0.0524, 0.3339)),
        ((9, 10, 3, 10), (0.1705, 0.8090)),
        ((10, 10, 0, 10), (0.6075, 1.0000)),
        ((5, 56, 0, 29), (-0.0381, 0.1926)),
    ],
)
def test_the_interval_of_independent_rates_is_newcombes(counts, interval):
    # Newcombe, Statistics in Medicine 17 (1998) 873-890, table II, method 10.
    assert newcombe_interval(*counts) == pytest.approx(interval, abs=5e-5)


def test_fishers_test_of_the_lady_who_tastes_tea():
    assert our_fisher(3, 4, 1, 4) == pytest.approx(34 / 70)
    assert our_fisher(4, 4, 0, 4) == pytest.approx(2 / 70)


@pytest.mark.parametrize(("reference", "drop"), [(0.9, 0.3), (0.6, 0.4), (0.95, 0.25), (0.5, 0.4)])
def test_the_size_of_samples_has_the_power_that_it_says(reference, drop):
    """The power of Fisher's test, summed over all outcomes of the samples that the formula asks for."""
    size = round(episodes_needed(drop, reference))
    chances = [binom.pmf(range(size + 1), size, rate) for rate in (reference, reference - drop)]
    power = sum(
        chances[0][one] * chances[1][other]
        for one in range(size + 1)
        for other in range(size + 1)
        if chances[0][one] * chances[1][other] > 1e-9
        and fisher_exact([[one, size - one], [other, size - other]]).pvalue <= 0.05
    )
    assert 0.77 <= power <= 0.85


def test_the_drop_that_samples_show_is_the_one_they_are_needed_for():
    drop = detectable_drop_of_samples(200, 0.8)
    assert episodes_needed(drop, 0.8) == pytest.approx(200, rel=0.03)
    assert detectable_drop_of_samples(3, 0.5) is None
    assert episodes_needed(0.6, 0.5) is None


def sides(ours, theirs):
    one, other = (
        [
            record(episode=index, success=good, status="success" if good else "failure")
            for index, good in enumerate(of)
        ]
        for of in (ours, theirs)
    )
    return list(zip(one, other, strict=True))


def test_what_is_known_to_be_the_same_is_paired_and_what_may_be_is_not():
    both = sides([True, False] * 20, [True, True] * 20)
    paired = compare_episodes(Pairs(both, [], []))
    assert paired == compare_pairs(both)
    assert (paired.number, paired.lost, paired.say(1)) == (40, 20, "1 paired episode")
    apart = compare_episodes(Pairs([], [], both))
    assert isinstance(apart, Independent)
    assert (apart.number, apart.successes, apart.reference) == (40, 20, 40)
    assert apart.difference == paired.difference == -0.5
    assert apart.say(1200) == "1,200 unpaired episodes on each side"
    assert compare_episodes(Pairs(both[:5], [], both)) == compare_pairs(both[:5])
    assert compare_episodes(Pairs([], [both[0][0]], [])) is None


def test_the_words_name_the_test_and_the_episodes():
    both = sides([True, False], [True, True])
    paired, apart = compare_episodes(Pairs(both, [], [])), compare_episodes(Pairs([], [], both))
    assert names_of_tests([paired, None]) == Paired.TEST == names_of_tests([])
    assert names_of_tests([apart]) == Independent.TEST
    assert "not known to be the same" in episodes_of([apart])
    assert episodes_of([paired]) == "over the same episodes"


def test_a_margin_is_judged_by_the_interval_of_independent_samples_too():
    equal = compare_episodes(Pairs([], [], sides([True, False] * 200, [True, False] * 200)))
    assert judge_interval(equal, 0.1).answer == "within"
    narrow = judge_interval(equal, 0.05)
    assert narrow.answer == "inconclusive"
    more = narrow.pairs_needed
    assert equal.interval_of(more).low > -0.05
    assert equal.interval_of(more // 3).low < -0.05
    worse = compare_episodes(Pairs([], [], sides([False] * 100, [True] * 100)))
    assert judge_interval(worse, 0.05).answer == "beyond"
    assert worse.constant
    assert replace(worse, p_holm=0.01).decided == "worse"
