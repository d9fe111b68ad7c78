"""Whether a drop of the success rate lies within a margin: yes, no, or not decided by so many pairs.

A test for a difference cannot answer this: without enough pairs it finds no difference, however large the drop. The
interval can: all of it lies within the margin, or all of it beyond, or the margin lies inside (non-inferiority by
confidence interval: Piaggio et al., JAMA 308 (2012) 2594-2604).
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from headless_eval.report.comparison import Comparison
from headless_eval.report.paired import Change
from headless_eval.results.sequential import MarginTest

Answer = Literal["within", "beyond", "inconclusive"]
_MOST_PAIRS = 1_000_000
_POWER = 0.4294  # standard normal quantile of 0.8 over that of 0.975


class Judged(NamedTuple):
    """On which side of the margin the drop lies, and if undecided, how many pairs would tell (None: too many)."""

    answer: Answer
    pairs_needed: int | None = None


def judge_interval(one: Comparison, margin: float) -> Judged:
    """Judge by Newcombe's 95 % interval of the difference, for a number of episodes that was fixed in advance.

    ``within`` is wrong in at most 2.5 % of runs of a drop of ``margin`` or more, ``beyond`` in at most 2.5 % of runs of
    a smaller one. The pairs needed decide with a probability of about 80 % if all rates stay as they are.
    """
    answer = _side(one.interval.low, one.interval.high, margin)
    if answer != "inconclusive":
        return Judged(answer)
    gap = one.difference + margin
    spread = 1.0 if one.constant else 1 + _POWER

    def decides(pairs: int) -> bool:
        low, high = one.interval_of(pairs)
        half = one.difference - low if gap > 0 else high - one.difference
        return half * spread <= abs(gap)

    return Judged("inconclusive", _first(decides, one.number + 1))


def judge_pairs(pairs: Sequence[tuple[bool, bool]], margin: float, alpha: float) -> Judged:
    """Judge by betting on the pairs in their order, whenever they ended: valid after an early stop, too.

    Args:
        pairs: outcomes of the baseline and of the variant.
        margin: the allowed drop.
        alpha: the accepted probability of ``within`` for a drop of ``margin`` or more, and of ``beyond`` for less.
    """
    test = MarginTest(alpha, margin)
    for one, other in pairs:
        test.update(one, other)
    if test.decision != "continue":
        return Judged(test.decision)

    outcomes = Counter(pairs)

    def decides(number: int) -> bool:
        longer = MarginTest(alpha, margin)
        for pair, count in outcomes.items():
            longer.update(*pair, times=count * number / len(pairs))
        return max(longer.evidence_within, longer.evidence_beyond) >= 1 / alpha

    return Judged("inconclusive", _first(decides, len(pairs) + 1) if pairs else None)


def judge_change(one: Change, margin: float, pairs: int, worse: Literal["more", "less"] | None) -> Judged:
    """Judge the change of an outcome's mean by its 95 % interval.

    ``within`` is wrong in at most 2.5 % of runs of a change of ``margin`` or more for the worse, ``beyond`` in at most
    2.5 % of runs of a smaller one, if the variant adds a constant or multiplies by one (``report.paired``). The pairs
    needed decide with a probability of about 80 % if the change and what varies stay as they are.

    Args:
        one: the change.
        margin: what is allowed, in the terms of the change.
        pairs: number of pairs.
        worse: which direction is worse; None: both.
    """
    low, value, high = one.interval.low, one.value, one.interval.high
    if worse == "less" or (worse is None and value < 0):
        low, value, high = -high, -value, -low
    tolerance = 1e-9 * max(1.0, margin)  # an end that is the margin but for rounding does not lie beyond it
    if low > margin + tolerance:
        return Judged("beyond")
    if high < margin - tolerance and (worse is not None or low > tolerance - margin):
        return Judged("within")
    gap, half = margin - value, high - value if value < margin else value - low
    needed = pairs * (half * (1 + _POWER) / gap) ** 2 if gap else math.inf
    return Judged("inconclusive", max(pairs + 1, math.ceil(needed)) if needed <= _MOST_PAIRS else None)


def _side(low: float, high: float, margin: float) -> Answer:
    if low > -margin:
        return "within"
    return "beyond" if high < -margin else "inconclusive"


def _first(decides: Callable[[int], bool], least: int) -> int | None:
    """Return the first number from ``least`` on that decides, to a hundredth of itself; None above a million."""
    low, high = least - 1, least
    while not decides(high):
        low, high = high, 2 * high
        if high > _MOST_PAIRS:
            return None
    while high - low > max(1, high // 100):
        middle = (low + high) // 2
        low, high = (low, middle) if decides(middle) else (middle, high)
    return high
