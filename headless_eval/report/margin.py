"""Whether a drop of the success rate lies within a margin: yes, no, or not decided by so many pairs.

A test for a difference cannot answer this: without enough pairs it finds no difference, however large the drop. The
interval can: all of it lies within the margin, or all of it beyond, or the margin lies inside (non-inferiority by
confidence interval: Piaggio et al., JAMA 308 (2012) 2594-2604).
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from headless_eval.report.statistics import newcombe_paired_interval
from headless_eval.report.summary import Comparison
from headless_eval.results.sequential import MarginTest

Answer = Literal["within", "beyond", "inconclusive"]
_MOST_PAIRS = 1_000_000
_POWER = 0.4294  # standard normal quantile of 0.8 over that of 0.975


class Judged(NamedTuple):
    """On which side of the margin the drop lies, and if undecided, how many pairs would tell (None: too many)."""

    answer: Answer
    pairs_needed: int | None = None


def judge_interval(one: Comparison, margin: float) -> Judged:
    """Judge by Newcombe's 95 % interval of the paired difference, for a number of pairs that was fixed in advance.

    ``within`` is wrong in at most 2.5 % of runs of a drop of ``margin`` or more, ``beyond`` in at most 2.5 % of runs of
    a smaller one. The pairs needed decide with a probability of about 80 % if all rates stay as they are.
    """
    answer = _side(one.interval.low, one.interval.high, margin)
    if answer != "inconclusive":
        return Judged(answer)
    gap = one.difference + margin
    spread = 1 + _POWER if one.gained or one.lost else 1.0

    def decides(pairs: int) -> bool:
        low, high = newcombe_paired_interval(*_scaled(one, pairs))
        half = one.difference - low if gap > 0 else high - one.difference
        return half * spread <= abs(gap)

    return Judged("inconclusive", _first(decides, one.pairs + 1))


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


def _side(low: float, high: float, margin: float) -> Answer:
    if low > -margin:
        return "within"
    return "beyond" if high < -margin else "inconclusive"


def _scaled(one: Comparison, pairs: int) -> tuple[int, int, int, int]:
    """Return counts of so many pairs in the observed shares: both succeed, gained, lost, both fail."""
    shares = [count * pairs / one.pairs for count in (one.both, one.gained, one.lost)]
    both, gained, lost = (round(share) for share in shares)
    return both, gained, lost, max(0, pairs - both - gained - lost)


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
