"""Power of the signed-rank test of paired differences: the change of a mean that a number of pairs can show.

The model: differences are normal around the change, with the spread that was seen. Then the test needs 1 / 0.955 as
many pairs as Student's (3 / pi: Hodges and Lehmann, Annals of Mathematical Statistics 27 (1956) 324-335), whose power
is that of the noncentral t distribution. Differences with heavier tails need fewer.
"""

import math

from headless_eval.report.power import POWER
from headless_eval.results.sequential import ALPHA

EFFICIENCY = 3 / math.pi
_MAX_PAIRS = 10_000_000
_NORMAL_FROM = 1000


def change_power(pairs: float, effect: float, alpha: float = ALPHA, efficiency: float = EFFICIENCY) -> float:
    """Return the probability that a change is shown, in its direction, by the two-sided test.

    Args:
        pairs: number of pairs.
        effect: the change over the standard deviation of the differences, not below 0.
        alpha: level of the test.
        efficiency: of the test, in relation to Student's; 1 for that one.
    """
    from scipy.stats import nct, norm, t

    number = pairs * efficiency
    shift = effect * math.sqrt(number)
    if number <= 2:
        return 0.0
    if number > _NORMAL_FROM:
        return float(norm.sf(norm.isf(alpha / 2) - shift))
    return float(nct.sf(t.isf(alpha / 2, number - 1), number - 1, shift))


def detectable_change(pairs: int, spread: float, alpha: float = ALPHA, power: float = POWER) -> float | None:
    """Return the smallest change that this number of pairs shows with the given power, to a thousandth of itself.

    Args:
        pairs: number of pairs.
        spread: standard deviation of the differences.
        alpha: level of the two-sided test.
        power: probability of showing the change.

    Returns:
        The change, in the unit of ``spread``; None if so few pairs show none, or nothing varies.
    """
    from scipy.optimize import brentq

    # The test's smallest possible p-value: all differences of one sign.
    if 2.0 ** (1 - pairs) > alpha or not spread > 0:
        return None
    high = 1.0
    while change_power(pairs, high, alpha) < power:
        high *= 2
        if high > 1e3:
            return None
    return spread * float(
        brentq(lambda effect: change_power(pairs, effect, alpha) - power, 0, high, rtol=1e-3)
    )


def pairs_for_change(change: float, spread: float, alpha: float = ALPHA, power: float = POWER) -> int | None:
    """Return the number of pairs that shows a change with the given power.

    Args:
        change: the change of the mean, not 0.
        spread: standard deviation of the differences, above 0.
        alpha: level of the two-sided test.
        power: probability of showing the change.

    Returns:
        The number; None if ten million are too few.
    """
    effect = abs(change) / spread
    low, high = math.ceil(1 - math.log2(alpha)) - 1, math.ceil(1 - math.log2(alpha))
    while change_power(high, effect, alpha) < power:
        low, high = high, 2 * high
        if high > _MAX_PAIRS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if change_power(middle, effect, alpha) >= power else (middle, high)
    return high
