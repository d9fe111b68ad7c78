"""Tests and intervals of paired quantities, against published values and other implementations."""

import warnings

import numpy as np
import pytest
from scipy import stats

from headless_eval.report.paired import (
    LEAST,
    Change,
    differences,
    intervals,
    mean_change,
    signed_rank,
    subsets,
)

DARWIN = np.array([49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48], float)
"""Heights of cross- less self-fertilised Zea mays, in eighths of an inch (Fisher, The Design of Experiments, 1935)."""

BEFORE = np.array([1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30])
AFTER = np.array([0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29])
"""Hamilton's depression scale (Hollander and Wolfe, 1973, p. 29), the example of R's ``wilcox.test``."""


def test_the_signed_rank_test_gives_the_textbooks_p_value():
    assert signed_rank(differences(BEFORE, AFTER)) == pytest.approx(2 * 0.01953, abs=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_without_ties_the_signed_rank_test_is_scipys_exact_one(seed):
    found = np.random.default_rng(seed).normal(0.3, 1, 12 + 7 * seed)
    assert signed_rank(found) == pytest.approx(stats.wilcoxon(found, method="exact").pvalue, rel=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_with_ties_it_is_the_share_of_all_signs(seed):
    found = np.random.default_rng(seed).integers(-2, 4, 11).astype(float)
    ranks = stats.rankdata(np.abs(found[found != 0]))
    signs = 2 * np.vstack([np.zeros(len(ranks)), subsets(len(ranks))]) - 1
    sums, seen = signs @ ranks, np.sign(found[found != 0]) @ ranks
    assert signed_rank(found) == pytest.approx(min(1.0, np.mean(np.abs(sums) >= abs(seen) - 1e-9)), rel=1e-9)


def test_many_pairs_and_none_that_differ():
    found = np.random.default_rng(1).normal(0.2, 1, 400)
    assert signed_rank(found) == pytest.approx(stats.wilcoxon(found, correction=True).pvalue)
    assert signed_rank(np.zeros(20)) == 1.0


def test_differences_that_are_equal_but_for_rounding_are_equal():
    times = np.arange(1, 40) / 15
    assert len(set(differences(times, times + 1 / 15))) == 1
    assert not differences(np.array([0.1 + 0.2]), np.array([0.3])).any()


def test_as_many_signed_sums_as_fisher_counted_reach_what_darwin_saw():
    """863 of 32,768 sums with random signs are as large as that of all plants, 314."""
    below = subsets(15) @ DARWIN <= 0
    assert below.sum() + 1 == 863


def test_the_interval_is_what_tests_with_all_signs_do_not_reject():
    """Fisher's p of 5.3 % lies above 5 %: 0 is just within the 95 % interval, and beyond the 90 % one."""
    (low, high), (less, more) = intervals(np.zeros((1, 15)), DARWIN[None])[:, 0]
    assert low < 0 < less < more < high
    signs = 2 * np.vstack([np.zeros(15), subsets(15)]) - 1
    for value, rejected in ((more + 0.01, True), (more - 0.01, False)):
        sums = signs @ (DARWIN - value)
        assert (np.mean(sums <= sums[-1] + 1e-9) <= 0.05) == rejected


def test_an_end_is_the_farther_one_of_signs_and_scipys_bootstrap():
    skewed = np.random.default_rng(2).exponential(1, 40) ** 2
    one = mean_change(np.zeros(40), skewed)
    found = stats.bootstrap(
        (skewed,), np.mean, n_resamples=1999, method="BCa", random_state=np.random.default_rng(0)
    ).confidence_interval
    assert one.interval.high == pytest.approx(found.high, rel=1e-9)
    signed = np.sort(subsets(40) @ skewed / subsets(40).sum(axis=1))
    assert one.interval.low == pytest.approx(signed[249], rel=1e-9)
    assert one.interval.low < found.low


def test_many_pairs_have_students_and_fiellers_intervals():
    generator = np.random.default_rng(3)
    before = generator.lognormal(0, 0.3, 500)
    after = 1.2 * before * generator.lognormal(0, 0.1, 500)
    student = stats.ttest_rel(after, before).confidence_interval(0.95)
    assert mean_change(before, after).interval == pytest.approx((student.low, student.high), rel=1e-9)
    share = mean_change(before, after, relative=True)
    for end in share.interval:  # Fieller: the share at which Student's test has a p-value of 5 %
        assert stats.ttest_1samp(after - (1 + end) * before, 0).pvalue == pytest.approx(0.05, rel=1e-6)
    assert share.value == pytest.approx(after.mean() / before.mean() - 1)


def test_resampled_and_computed_intervals_meet():
    generator = np.random.default_rng(4)
    before = generator.lognormal(0, 0.3, 200)
    after = 1.2 * before * generator.lognormal(0, 0.1, 200)
    share = mean_change(before, after, relative=True).interval
    longer = mean_change(np.tile(before, 2), np.tile(after, 2), relative=True).interval
    assert longer.high - longer.low == pytest.approx((share.high - share.low) / 2**0.5, rel=0.1)


def test_the_same_values_give_the_same_interval():
    before, after = np.random.default_rng(5).random((2, 50))
    assert mean_change(before, after) == mean_change(before, after)


def test_few_pairs_that_differ_and_shares_of_nothing_have_no_interval():
    before, after = np.ones(40), np.ones(40)
    after[: LEAST - 1] = 2
    assert mean_change(before, after) is None
    after[LEAST - 1] = 2
    assert mean_change(before, after).value == pytest.approx(LEAST / 40)
    assert mean_change(np.zeros(40), after, relative=True) is None
    assert mean_change(before - 2, after, relative=True) is None


def test_fewer_than_six_pairs_cannot_reject_anything():
    assert mean_change(np.zeros(5), np.arange(1.0, 6)) is None
    assert np.isfinite(mean_change(np.zeros(6), np.arange(1.0, 7)).interval).all()


def test_equal_within_is_the_farther_end_of_the_narrow_interval():
    assert Change(0.0, (-3.0, 2.0), (-2.0, 1.0)).equal_within == 2.0
    one = mean_change(np.zeros(15), DARWIN)
    margin = one.equal_within
    for test in (
        "greater",
        "less",
    ):  # at that margin the weaker of both one-sided tests has a p-value near 5 %
        assert (
            stats.ttest_1samp(DARWIN, margin if test == "less" else -margin, alternative=test).pvalue < 0.06
        )


@pytest.mark.parametrize("relative", [False, True])
def test_values_of_which_few_differ_are_no_matter_for_a_warning(relative):
    one, other = np.full((2, 12), 3.0), np.full((2, 12), 3.0)
    other[1] = np.arange(12)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = intervals(one, other, relative=relative)
    assert np.isfinite(found[:, 1]).all()
