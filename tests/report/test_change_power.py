"""Power for changes of means, against published values and simulation."""

import numpy as np
import pytest

from headless_eval.report.change_power import change_power, detectable_change, pairs_for_change
from headless_eval.report.paired import signed_rank


def test_students_power_is_that_of_gpowers_manual():
    """50 pairs, an effect of 0.421637: 0.832114 (manual of G*Power 3.1, "Means: matched pairs", after Cohen)."""
    assert change_power(50, 0.421637, efficiency=1) == pytest.approx(0.832114, abs=1e-6)


def test_a_published_number_of_pairs():
    """An effect of 0.5 needs 34 pairs for 80 % power (Student's test; statsmodels' ``TTestPower``)."""
    assert change_power(34, 0.5, efficiency=1) >= 0.8 > change_power(33, 0.5, efficiency=1)


@pytest.mark.parametrize(("pairs", "effect"), [(20, 0.8), (60, 0.4)])
def test_the_power_is_that_of_the_signed_rank_test_on_normal_differences(pairs, effect):
    generator, runs = np.random.default_rng(6), 1500
    shown = np.mean([signed_rank(generator.normal(effect, 1, pairs)) <= 0.05 for _ in range(runs)])
    assert shown == pytest.approx(change_power(pairs, effect), abs=3 * (0.25 / runs) ** 0.5)


def test_what_is_detectable_is_shown_with_80_percent():
    change = detectable_change(60, spread=2.0, alpha=0.01)
    assert change_power(60, change / 2.0, 0.01) == pytest.approx(0.8, abs=2e-3)
    assert pairs_for_change(change, 2.0, 0.01) in (60, 61)
    assert detectable_change(5000, 1.0) == pytest.approx(0.0405, abs=5e-4)


def test_too_few_pairs_show_nothing_and_nothing_that_varies_shows_nothing():
    assert detectable_change(5, 1.0) is None
    assert detectable_change(60, 0.0) is None
    assert pairs_for_change(100.0, 1.0) == 6
    assert pairs_for_change(1e-9, 1.0) is None


@pytest.mark.parametrize("alpha", [0.05, 0.05 / 26, 0.05 / 300])
@pytest.mark.parametrize("pairs", [8, 12, 30, 90, 400, 1047, 1048, 20_000])
def test_every_number_of_pairs_and_level_has_a_power_that_rises_with_the_effect(pairs, alpha):
    powers = [change_power(pairs, effect, alpha) for effect in (0, 0.01, 0.1, 0.5, 1, 2, 4, 8, 16)]
    assert np.isfinite(powers).all()
    assert powers == sorted(powers)
    assert powers[0] == pytest.approx(alpha / 2, rel=1e-6)
    change = detectable_change(pairs, 1.0, alpha)
    assert (change is None) == (2.0 ** (1 - pairs) > alpha)
