"""Power of the exact McNemar test on pairs: the drop of the success rate that a number of episodes can show.

The model: each pair is lost (only the baseline succeeds) with one probability and gained (only the other variant
succeeds) with another, independently of all other pairs. Then the number of unequal pairs is binomial, and given this
number, the number of lost pairs is binomial too. The power is exact, summed over both (Duffy, "Asymptotic and exact
power for the McNemar test and its analogue with R controls per case", Biometrics 40 (1984) 1005-1015).

The rate of gained pairs has to be assumed: closed loops are chaotic, so a variant without any effect on success still
loses and gains some episodes. Here this rate is taken as known, and a drop adds to the losses: lost = gained + drop.
"""

import math
from collections.abc import Callable

from headless_eval.results.sequential import ALPHA

POWER = 0.8
"""The usual probability of showing an existing drop."""

_NEGLIGIBLE = 1e-12
_MAX_PAIRS = 10_000_000


def paired_power(pairs: int, lost: float, gained: float, alpha: float = ALPHA, sides: int = 2) -> float:
    """Return the probability that McNemar's exact test finds the success rate lower, at level alpha.

    Args:
        pairs: number of pairs.
        lost: probability that a pair is lost.
        gained: probability that a pair is gained; ``lost + gained`` is at most 1.
        alpha: level of the test.
        sides: 2 for the two-sided test, 1 for the one-sided test for a drop.

    Raises:
        ValueError: the probabilities are impossible.
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
    # The quantile gives the largest number that is not rejected, up to rounding; both neighbours are checked.
    least = binom.isf(alpha / sides, counts, 0.5).astype(int) + 1
    least -= binom.sf(least - 2, counts, 0.5) <= alpha / sides
    least += binom.sf(least - 1, counts, 0.5) > alpha / sides
    found = binom.sf(least - 1, counts, lost / unequal)
    return float(np.sum(binom.pmf(counts, pairs, unequal) * found))


def detectable_drop(
    pairs: int, gained: float, highest: float = 1.0, alpha: float = ALPHA, power: float = POWER
) -> float | None:
    """Return the smallest drop of the success rate that this number of pairs shows with the given power.

    Args:
        pairs: number of pairs.
        gained: probability that a pair is gained; the probability of a loss is this plus the drop.
        highest: the success rate of the baseline, the upper bound of losses.
        alpha: level of the two-sided test.
        power: probability of finding the drop.

    Returns:
        The drop, to a hundredth of itself; None if even the largest possible drop is found with a lower probability.
    """
    largest = min(highest - gained, 1 - 2 * gained)
    if largest <= 0:
        return None
    return _smallest(lambda drop: paired_power(pairs, gained + drop, gained, alpha) >= power, largest)


def pairs_needed(drop: float, gained: float, alpha: float = ALPHA, power: float = POWER) -> int | None:
    """Return the number of pairs that shows a drop of the success rate with the given power.

    The power of an exact test is not quite monotonic: with a few more pairs it may be slightly lower.

    Args:
        drop: the drop of the success rate, above 0.
        gained: probability that a pair is gained; the probability of a loss is this plus the drop.
        alpha: level of the two-sided test.
        power: probability of finding the drop.

    Returns:
        The number; None if losses and gains together exceed 1, or ten million pairs are too few.
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


def episodes_needed(
    drop: float, reference: float, alpha: float = ALPHA, power: float = POWER
) -> float | None:
    """Return the size of each of two independent samples with which Fisher's exact test shows a drop.

    An approximation, near that test's exact power: Casagrande, Pike, Smith, "An improved approximate formula for
    calculating sample sizes for comparing two binomial distributions", Biometrics 34 (1978) 483-486.

    Args:
        drop: the drop of the success rate, above 0.
        reference: the success rate that it is a drop from, below 1 or, with a drop of less than it, 1.
        alpha: level of the two-sided test.
        power: probability of showing the drop.

    Returns:
        The size, not rounded; None if the rate cannot drop so far, or ten million are too few.
    """
    from scipy.stats import norm

    other = reference - drop
    if other < 0:
        return None
    middle = (reference + other) / 2
    level, chance = norm.ppf(1 - alpha / 2), norm.ppf(power)
    spread = math.sqrt(reference * (1 - reference) + other * (1 - other))
    simple = ((level * math.sqrt(2 * middle * (1 - middle)) + chance * spread) / drop) ** 2
    size = float(simple / 4 * (1 + math.sqrt(1 + 4 / (simple * drop))) ** 2)
    return size if size <= _MAX_PAIRS else None


def detectable_drop_of_samples(
    size: int, reference: float, alpha: float = ALPHA, power: float = POWER
) -> float | None:
    """Return the smallest drop of the success rate that two independent samples of this size show.

    Args:
        size: of each sample.
        reference: the success rate that it is a drop from, above 0.
        alpha: level of the two-sided test.
        power: probability of showing the drop.

    Returns:
        The drop, to a hundredth of itself; None if even a drop to 0 is shown with a lower probability.
    """

    def shown(drop: float) -> bool:
        needed = episodes_needed(drop, reference, alpha, power)
        return needed is not None and needed <= size

    return _smallest(shown, reference)


def _smallest(shown: Callable[[float], bool], largest: float) -> float | None:
    """Return the smallest drop that is shown, to a hundredth of itself; None if not even the largest one is."""
    if not shown(largest):
        return None
    low, high = 0.0, largest
    while high - low > 0.01 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if shown(middle) else (middle, high)
    return high
