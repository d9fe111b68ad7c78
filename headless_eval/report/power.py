"""What a number of episodes can show: the power of the exact McNemar test on pairs.

The model: each pair is lost (only the baseline succeeds) with one probability, gained (only the other variant
succeeds) with another, independently of all other pairs. Then the count of unequal pairs is binomial, and given
it, the count of lost ones is: the power is exact, summed over both (Duffy, "Asymptotic and exact power for the
McNemar test and its analogue with R controls per case", Biometrics 40 (1984) 1007-1015).

What has to be assumed is how often episodes are gained: closed loops are chaotic, so that a variant without
any effect on success still loses and gains some. Here the rate of gains is taken as known, and a drop adds to it
on the side of the losses: lost = gained + drop.
"""

import math

from headless_eval.results.sequential import ALPHA

POWER = 0.8
"""The usual chance to see a drop that is there."""

_NEGLIGIBLE = 1e-12
_MAX_PAIRS = 10_000_000


def paired_power(pairs: int, lost: float, gained: float, alpha: float = ALPHA, sides: int = 2) -> float:
    """Return the chance that McNemar's exact test finds the success rate lower, at level alpha.

    Args:
        pairs: how many.
        lost: probability that a pair is lost.
        gained: probability that a pair is gained; ``lost + gained`` is at most 1.
        alpha: level of the test.
        sides: 2 for the two-sided test, 1 for that of a drop.

    Raises:
        ValueError: if the probabilities are impossible.
    """
    import numpy as np
    from scipy.stats import binom

    unequal = lost + gained
    if not (0 <= gained <= 1 and 0 <= lost <= 1 and unequal <= 1 + 1e-12) or pairs < 0:
        raise ValueError(f"impossible: {pairs} pairs, {lost} lost, {gained} gained")
    if unequal == 0 or pairs == 0:
        return 0.0
    unequal = min(unequal, 1.0)
    first, last = binom.ppf([_NEGLIGIBLE, 1 - _NEGLIGIBLE], pairs, unequal)
    counts = np.arange(max(0, int(first)), int(last) + 1)
    # Rejected if at least `least` of `count` unequal pairs are lost: the smallest number whose tail is alpha / sides.
    # The quantile gives the largest number that is not rejected, up to rounding; both neighbours are looked at.
    least = binom.isf(alpha / sides, counts, 0.5).astype(int) + 1
    least -= binom.sf(least - 2, counts, 0.5) <= alpha / sides
    least += binom.sf(least - 1, counts, 0.5) > alpha / sides
    found = binom.sf(least - 1, counts, lost / unequal)
    return float(np.sum(binom.pmf(counts, pairs, unequal) * found))


def detectable_drop(
    pairs: int, gained: float, highest: float = 1.0, alpha: float = ALPHA, power: float = POWER
) -> float | None:
    """Return the smallest drop in success rate that this many pairs show with the given power.

    Args:
        pairs: how many.
        gained: probability that a pair is gained; losses are this and the drop.
        highest: the success rate of the baseline, which no loss can exceed.
        alpha: level of the two-sided test.
        power: chance to find the drop.

    Returns:
        The drop, to a hundredth of itself; None if even the largest one possible would more likely be missed than that.
    """
    low, high = 0.0, min(highest - gained, 1 - 2 * gained)
    if high <= 0 or paired_power(pairs, gained + high, gained, alpha) < power:
        return None
    while high - low > 0.01 * high:
        middle = (low + high) / 2
        if paired_power(pairs, gained + middle, gained, alpha) < power:
            low = middle
        else:
            high = middle
    return high


def pairs_needed(drop: float, gained: float, alpha: float = ALPHA, power: float = POWER) -> int | None:
    """Return how many pairs show a drop in success rate with the given power.

    The power of an exact test is not quite monotonic: a few pairs more may have a little less of it.

    Args:
        drop: of the success rate, above 0.
        gained: probability that a pair is gained; losses are this and the drop.
        alpha: level of the two-sided test.
        power: chance to find the drop.

    Returns:
        The number, or None if losses and gains would exceed 1 together, or ten million pairs are too few.
    """
    lost = gained + drop
    if lost + gained > 1:
        return None
    high = math.ceil(approximate_pairs(lost, gained, alpha, power))
    while paired_power(high, lost, gained, alpha) < power:
        high = math.ceil(1.1 * high) + 1
        if high > _MAX_PAIRS:
            return None
    low = 0
    while high - low > 1:
        middle = (low + high) // 2
        if paired_power(middle, lost, gained, alpha) < power:
            low = middle
        else:
            high = middle
    return high


def approximate_pairs(lost: float, gained: float, alpha: float = ALPHA, power: float = POWER) -> float:
    """Return the large-sample number of pairs: Connor, Biometrics 43 (1987) 207-211, the formula of page 209."""
    from scipy.stats import norm

    unequal, drop = lost + gained, lost - gained
    level, chance = norm.ppf(1 - alpha / 2), norm.ppf(power)
    return float((level * math.sqrt(unequal) + chance * math.sqrt(unequal - drop * drop)) / drop) ** 2
