"""Psychometric functions on a grid: what they find in known curves, how often their intervals hold the truth."""

import numpy as np
import pytest
from graded_cases import graded_manifest, graded_tasks
from scipy.optimize import minimize

from headless_eval.results.psychometric import LARGEST_LAPSE, Grid, Scale, scales_of

SCALE = Scale("insert", "mm", "less", 0.0, (0.5, 1.0, 2.0, 4.0, 8.0), (35, 34, 33, 32, 31))


def test_the_scales_are_those_of_the_manifest_in_rising_order():
    tasks = [*graded_tasks(), *graded_tasks("carry", (5.0, 10.0), 41, "degrees", harder="more", chance=0.25)]
    stated = graded_manifest([*tasks, *graded_tasks("lone", (1.0,), 51)], ["float32"])["tasks"]
    assert scales_of(stated) == [SCALE, Scale("carry", "degrees", "more", 0.25, (5.0, 10.0), (41, 42))]
    perturbed = [entry | {"perturbation": [["light", 1]]} for entry in stated]
    damaged = [entry | {"difficulty": {"family": 3}} for entry in stated]
    assert scales_of(perturbed) == scales_of(damaged) == []


@pytest.mark.parametrize("harder", ["less", "more"])
@pytest.mark.parametrize("chance", [0.0, 0.25])
def test_the_curve_has_its_performance_at_the_threshold_and_its_limits_far_away(harder, chance):
    scale = SCALE._replace(harder=harder, chance=chance)
    grid = Grid(scale, 0.7)
    here = scale.ease(2.0)
    assert grid.curve(here, 1.0, 0.05, here) == pytest.approx(0.7)
    easy, hard = (1e6, 1e-6) if harder == "less" else (1e-6, 1e6)
    assert grid.curve(here, 1.0, 0.05, scale.ease(easy)) == pytest.approx(0.95)
    assert grid.curve(here, 1.0, 0.05, scale.ease(hard)) == pytest.approx(chance)
    assert scale.level(here) == pytest.approx(2.0)


def test_with_many_trials_the_fit_is_that_of_maximum_likelihood():
    trials = np.full(5, 400.0)
    grid = Grid(SCALE)
    wins = np.round(trials * grid.curve(np.log(1.7), 1.3, 0.03, grid.eases))

    def loss(values):
        success = np.clip(grid.curve(values[0], np.exp(values[1]), values[2], grid.eases), 1e-9, 1 - 1e-9)
        return -(wins * np.log(success) + (trials - wins) * np.log1p(-success)).sum()

    best = minimize(
        loss, (0.0, 0.0, 0.02), bounds=[(-2, 3), (-2, 2), (0, LARGEST_LAPSE)], method="L-BFGS-B"
    ).x
    fit = grid.fit(wins, trials)
    assert fit.threshold.value == pytest.approx(np.exp(best[0]), rel=0.02)
    assert fit.threshold.value == pytest.approx(1.7, rel=0.03)
    assert fit.threshold.low < 1.7 < fit.threshold.high
    assert fit.width == pytest.approx(1.3, rel=0.3)
    assert fit.success(grid.eases) == pytest.approx(wins / trials, abs=0.02)


def test_the_interval_is_as_long_as_the_information_says():
    """By the second derivative of the log-likelihood, with width and lapse known."""
    trials = np.full(5, 2000.0)
    grid = Grid(SCALE)
    wins = np.round(trials * grid.curve(np.log(2.0), 2.0, 0.0, grid.eases))
    success, slope = grid.curve(np.log(2.0), 2.0, 0.0, grid.eases), 2 * np.log(9) / 2.0
    error = 1 / np.sqrt((trials * slope**2 * success * (1 - success)).sum())
    low, high = np.log(grid.fit(wins, trials).threshold[1:])
    assert 1 < (high - low) / (2 * 1.96 * error) < 2


@pytest.mark.parametrize("harder", ["less", "more"])
def test_saturated_data_have_a_finite_threshold_beyond_the_levels(harder):
    grid, trials = Grid(SCALE._replace(harder=harder)), np.full(5, 10.0)
    always, never = grid.fit(trials, trials), grid.fit(0 * trials, trials)
    assert (always.beyond, never.beyond) == ("harder", "easier")
    low, high = (always, never) if harder == "less" else (never, always)
    assert low.threshold.value < 0.5
    assert low.threshold.low is None
    assert high.threshold.value > 8
    assert high.threshold.high is None
    assert np.isfinite([low.threshold.value, high.threshold.value]).all()


@pytest.mark.parametrize(("chance", "performance"), [(0.5, 0.5), (0.25, 0.2), (0.0, 0.95)])
def test_a_performance_that_no_level_has_is_refused(chance, performance):
    with pytest.raises(ValueError, match="no threshold at"):
        Grid(SCALE._replace(chance=chance), performance)


def test_levels_of_zero_are_taken_as_they_are():
    scale = SCALE._replace(levels=(0.0, 1.0, 2.0, 3.0, 4.0))
    assert not scale.logarithmic
    fit = Grid(scale).fit(np.array([0.0, 0.0, 10.0, 20.0, 20.0]), np.full(5, 20.0))
    assert fit.threshold.value == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize("threshold", [1.0, 2.8])
def test_the_interval_holds_the_threshold_in_95_percent(threshold):
    grid, trials, runs = Grid(SCALE), np.full((400, 5), 10.0), 400
    success = grid.curve(np.log(threshold), 1.2, 0.02, grid.eases)
    wins = np.random.default_rng(3).binomial(10, success, (runs, 5)).astype(float)
    ends = grid.quantiles(grid.marginal(grid.posterior(wins, trials)), (0.025, 0.975))
    missed = np.mean((ends[:, 0] > np.log(threshold)) | (ends[:, 1] < np.log(threshold)))
    assert missed <= 0.05 + 3 * (0.05 * 0.95 / runs) ** 0.5


def test_many_data_sets_have_the_thresholds_of_single_ones():
    grid, trials = Grid(SCALE), np.full((230, 5), 10.0)
    wins = np.random.default_rng(4).binomial(10, [0.1, 0.3, 0.5, 0.8, 0.9], (230, 5)).astype(float)
    found = grid.thresholds_of(wins, trials)
    for index in (0, 99, 100, 229):
        assert found[index] == pytest.approx(grid.fit(wins[index], trials[index]).ease)
