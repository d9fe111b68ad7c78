"""Confidence intervals and tests of success rates: alone, in pairs with the baseline, and of independent samples."""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple


class Interval(NamedTuple):
    """A confidence interval; unpacks as (low, high)."""

    low: float
    high: float


@lru_cache(maxsize=4096)
def wilson_interval(successes: int, n: int, level: float = 0.95) -> Interval:
    """Return Wilson's score interval of a proportion, without continuity correction.

    Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927) 209-212;
    recommended for small n by Newcombe, "Two-sided confidence intervals for the single proportion",
    Statistics in Medicine 17 (1998) 857-872 (its method 3).

    Args:
        successes: 0 to n.
        n: trials, at least 1.
        level: the coverage, between 0 and 1.

    Raises:
        ValueError: the counts are impossible.
    """
    from scipy.stats import binomtest  # importing SciPy takes a second, which most commands can save

    low, high = binomtest(successes, n).proportion_ci(level, method="wilson")
    return Interval(float(low), float(high))


def newcombe_paired_interval(a: int, b: int, c: int, d: int, level: float = 0.95) -> Interval:
    """Return the interval of the difference between two proportions measured on the same n = a+b+c+d trials.

    The difference is that of the first proportion, (a + b) / n, minus the second, (a + c) / n: (b - c) / n.
    Newcombe, "Improved confidence intervals for the difference between binomial proportions based on paired
    data", Statistics in Medicine 17 (1998) 2635-2650, method 10: Wilson's intervals of both, combined with
    their correlation phi, whose numerator is corrected for continuity.

    Args:
        a: trials where both succeed.
        b: trials where only the first succeeds.
        c: trials where only the second succeeds.
        d: trials where neither succeeds.
        level: the coverage, between 0 and 1.

    Raises:
        ValueError: a count is negative, or the number of trials is 0.
    """
    n = a + b + c + d
    if min(a, b, c, d) < 0 or n == 0:
        raise ValueError(f"impossible counts of pairs: {a}, {b}, {c}, {d}")
    first, second = (a + b) / n, (a + c) / n
    first_low, first_high = wilson_interval(a + b, n, level)
    second_low, second_high = wilson_interval(a + c, n, level)

    numerator: float = a * d - b * c
    if numerator > 0:
        numerator = max(numerator - n / 2, 0)
    margins = (a + b) * (c + d) * (a + c) * (b + d)
    phi = numerator / math.sqrt(margins) if margins else 0.0

    def distance(one: float, other: float) -> float:
        return math.sqrt(max(one * one - 2 * phi * one * other + other * other, 0.0))

    difference = (b - c) / n
    return Interval(
        difference - distance(first - first_low, second_high - second),
        difference + distance(second - second_low, first_high - first),
    )


def newcombe_interval(a: int, m: int, b: int, n: int, level: float = 0.95) -> Interval:
    """Return the interval of the difference between two proportions of independent samples, a / m minus b / n.

    Newcombe, "Interval estimation for the difference between independent proportions", Statistics in Medicine 17
    (1998) 873-890, method 10: Wilson's intervals of both, combined.

    Args:
        a: successes of the first sample.
        m: its size, at least 1.
        b: successes of the second sample.
        n: its size, at least 1.
        level: the coverage, between 0 and 1.

    Raises:
        ValueError: the counts are impossible.
    """
    first, second = a / m, b / n
    first_low, first_high = wilson_interval(a, m, level)
    second_low, second_high = wilson_interval(b, n, level)
    difference = first - second
    return Interval(
        difference - math.hypot(first - first_low, second_high - second),
        difference + math.hypot(second - second_low, first_high - first),
    )


@lru_cache(maxsize=4096)
def fisher_exact(a: int, m: int, b: int, n: int) -> float:
    """Return the two-sided exact p-value that two proportions of independent samples are equal.

    Fisher, "The logic of inductive inference", Journal of the Royal Statistical Society 98 (1935) 39-82: given all
    successes, those of the first sample are hypergeometric.

    Args:
        a: successes of the first sample.
        m: its size.
        b: successes of the second sample.
        n: its size.
    """
    from scipy import stats

    return float(stats.fisher_exact([[a, m - a], [b, n - b]]).pvalue)


@lru_cache(maxsize=4096)
def mcnemar_exact(b: int, c: int) -> float:
    """Return the two-sided exact p-value that two proportions on the same trials are equal.

    McNemar, "Note on the sampling error of the difference between correlated proportions", Psychometrika 12
    (1947) 153-157, in its exact conditional form: given b + c, b is binomial with probability 1/2.

    Args:
        b: trials where only the first succeeds.
        c: trials where only the second succeeds.
    """
    from scipy.stats import binomtest

    return float(binomtest(b, b + c, 0.5).pvalue) if b + c else 1.0


@lru_cache(maxsize=4096)
def mcnemar_midp(b: int, c: int) -> float:
    """Return the two-sided mid-p value that two proportions on the same trials are equal.

    The exact p-value less half the probability of what was observed, in each tail: more powerful than the exact test,
    and nearly always within its nominal level. Fagerland, Lydersen, Laake, BMC Medical Research Methodology 13 (2013)
    91.

    Args:
        b: trials where only the first succeeds.
        c: trials where only the second succeeds.
    """
    from scipy.stats import binom

    observed = float(binom.pmf(min(b, c), b + c, 0.5)) if b + c else 0.0
    return mcnemar_exact(b, c) - (observed / 2 if b == c else observed)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's adjusted p-values, in the given order; all may be compared with the same level.

    If hypotheses with an adjusted p-value at or below a level are rejected, the probability of any false rejection is
    at most that level, however the tests depend on each other. Holm, "A simple sequentially rejective multiple test
    procedure", Scandinavian Journal of Statistics 6 (1979) 65-70; adjusted p-values as in Wright, Biometrics 48 (1992)
    1005-1013.
    """
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted
