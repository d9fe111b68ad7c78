"""The exact test of the interaction of a variant with a perturbation."""

from collections import Counter

import numpy as np
import pytest
from scipy import stats

from headless_eval.report.interaction import excess, interaction_test, random_signs
from headless_eval.report.statistics import mcnemar_exact


def test_random_signs_give_fishers_published_value():
    """Fisher, The Design of Experiments (1935), section 21: of Darwin's 15 pairs 863 sums of 32,768 are 314 or more."""
    differences = (49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48)
    sizes = tuple(sorted(Counter(map(abs, differences)).items()))
    assert random_signs(sizes, sum(differences)) == pytest.approx(2 * 863 / 32768)


def test_it_is_scipys_permutation_test():
    scores = np.array([2, -1, 1, 1, 1, -1, 2, 1, 0, 0, 1])
    one = stats.permutation_test((scores,), np.sum, permutation_type="samples", n_resamples=np.inf)
    assert interaction_test(scores) == pytest.approx(one.pvalue)


@pytest.mark.parametrize(("lost", "gained"), [(9, 0), (7, 2), (3, 3), (0, 0), (40, 12)])
def test_where_all_plain_episodes_succeed_it_is_mcnemars_test(lost, gained):
    scores = np.array([-1] * lost + [1] * gained + [0] * 5)
    assert interaction_test(scores) == pytest.approx(mcnemar_exact(gained, lost))


def test_excess_is_the_difference_of_differences_summed_over_conditions():
    plain = np.array([[1, 1, 1, 0], [1, 0, 1, 1]])  # baseline, variant
    dimmed, turned = [[1, 1, 0, 0], [0, 0, 1, 0]], [[1, 0, 1, 0], [0, 0, 1, 1]]
    assert excess(plain, np.array([dimmed])).tolist() == [-1, 0, 1, -1]
    assert excess(plain, np.array([dimmed, turned])).tolist() == [-2, 1, 1, -1]


def test_many_episodes_take_no_time_and_lose_no_precision():
    assert random_signs(((1, 60_000), (2, 20_000)), 700) == pytest.approx(
        2 * stats.norm.sf(699 / np.sqrt(60_000 + 4 * 20_000)), rel=0.01
    )


# Success of baseline and variant, plain and perturbed, without an interaction: equal throughout; equal differences at
# other rates; a perturbation that costs both as much; rates near 0 and 1, where scores are skewed.
NULLS = [
    ((0.9, 0.9), (0.9, 0.9)),
    ((0.98, 0.98), (0.7, 0.7)),
    ((0.98, 0.9), (0.7, 0.62)),
    ((0.95, 0.75), (0.6, 0.4)),
    ((0.99, 0.89), (0.15, 0.05)),
    ((1.0, 0.9), (0.5, 0.4)),
]


@pytest.mark.parametrize("together", [0.0, 0.5])
@pytest.mark.parametrize(("plain", "perturbed"), NULLS)
def test_false_alarms_are_at_most_nominal_in_10000_simulations(plain, perturbed, together):
    """Episodes differ in difficulty, so that the four results of one are correlated."""
    generator = np.random.default_rng(0)
    pairs, simulations = 30, 10_000
    own = generator.standard_normal((2, 2, simulations, pairs))
    shared = generator.standard_normal((simulations, pairs))
    rates = np.array([plain, perturbed])[:, :, None, None]
    success = np.sqrt(together) * shared + np.sqrt(1 - together) * own < stats.norm.ppf(rates)
    change = success[:, 1].astype(int) - success[:, 0]
    scores = change[1] - change[0]
    counts = [(np.abs(scores) == 1).sum(1), (np.abs(scores) == 2).sum(1), np.abs(scores.sum(1))]
    kinds, numbers = np.unique(np.stack(counts, axis=1), axis=0, return_counts=True)
    rejected = [
        random_signs(tuple((size, int(n)) for size, n in ((1, ones), (2, twos)) if n), int(total)) <= 0.05
        for ones, twos, total in kinds
    ]
    assert numbers[rejected].sum() / simulations <= 0.05


def test_it_finds_an_interaction_that_is_there():
    generator = np.random.default_rng(0)
    found = 0
    for _ in range(200):
        lost = generator.random(30) < 0.3
        gained = (generator.random(30) < 0.02) & ~lost
        found += interaction_test(gained.astype(int) - lost) <= 0.05
    assert found > 160
