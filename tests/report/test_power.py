"""The power of the paired test, against values published for it and against counting all outcomes."""

from itertools import product
from math import comb

import pytest

from headless_eval.report.power import approximate_pairs, detectable_drop, paired_power, pairs_needed
from headless_eval.report.statistics import mcnemar_exact


@pytest.mark.parametrize(
    ("pairs", "lost", "gained", "alpha", "power", "digits"),
    [
        # O'Brien (2002), pages 161-163, worked through in the manual of G*Power 3.1, "McNemar test".
        (50, 0.32, 0.08, 0.05, 0.839, 3),
        # The check of power_mcnemar_test(method="exact") in the tests of the R package MESS.
        (144, 0.45, 0.25, 0.025, 0.80, 2),
    ],
)
def test_exact_power_as_published(
    pairs: int, lost: float, gained: float, alpha: float, power: float, digits: int
) -> None:
    assert round(paired_power(pairs, lost, gained, alpha, sides=1), digits) == power


def test_sample_size_as_published() -> None:
    # Connor (1987), as power_mcnemar_test in the R package MESS checks it, and powerandsamplesize.com works it.
    assert approximate_pairs(0.45, 0.05) == pytest.approx(22, abs=0.5)


@pytest.mark.parametrize(("pairs", "lost", "gained"), [(1, 0.5, 0.5), (9, 0.3, 0.1), (14, 0.9, 0.0)])
def test_exact_power_is_the_sum_over_all_outcomes(pairs: int, lost: float, gained: float) -> None:
    rest = max(0.0, 1 - lost - gained)
    power = sum(
        comb(pairs, b) * comb(pairs - b, c) * lost**b * gained**c * rest ** (pairs - b - c)
        for b, c in product(range(pairs + 1), repeat=2)
        if b + c <= pairs and b > c and mcnemar_exact(b, c) <= 0.05
    )
    assert paired_power(pairs, lost, gained) == pytest.approx(power, abs=1e-9)


def test_without_effect_power_is_below_the_level() -> None:
    for pairs in (5, 60, 2000):
        assert paired_power(pairs, 0.1, 0.1) <= 0.025 + 1e-9


@pytest.mark.parametrize("gained", [0.0, 0.02, 0.1])
@pytest.mark.parametrize("pairs", [15, 60, 300, 20_000])
def test_the_detectable_drop_is_just_detected(pairs: int, gained: float) -> None:
    drop = detectable_drop(pairs, gained)
    assert drop is not None
    assert paired_power(pairs, gained + drop, gained) >= 0.8
    assert paired_power(pairs, gained + 0.98 * drop, gained) < 0.8


def test_no_drop_is_detectable() -> None:
    assert detectable_drop(5, 0.0) is None  # five losses of five have p = 1/16
    assert detectable_drop(60, 0.02, highest=0.05) is None  # float32 hardly succeeds itself
    assert detectable_drop(60, 0.1, highest=0.1) is None
    assert detectable_drop(0, 0.0) is None


@pytest.mark.parametrize(("drop", "gained"), [(0.3, 0.02), (0.1, 0.05), (0.05, 0.02), (0.01, 0.1)])
def test_pairs_needed_and_detectable_drop_agree(drop: float, gained: float) -> None:
    pairs = pairs_needed(drop, gained)
    assert pairs is not None
    assert paired_power(pairs, gained + drop, gained) >= 0.8
    found = detectable_drop(pairs, gained)
    assert found is not None
    assert found == pytest.approx(drop, rel=0.03)
    # The exact test needs more than the approximation, and not much more.
    approximate = approximate_pairs(gained + drop, gained)
    assert 0 <= pairs - approximate < 0.1 * approximate + 8


def test_impossible_plans() -> None:
    assert pairs_needed(0.9, 0.2) is None
    with pytest.raises(ValueError, match="impossible"):
        paired_power(10, 0.8, 0.3)
