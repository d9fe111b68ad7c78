"""A variant against the baseline: over the same episodes, or over episodes that are not known to be the same."""

import math
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from headless_eval.report.power import (
    detectable_drop,
    detectable_drop_of_samples,
    episodes_needed,
    pairs_needed,
)
from headless_eval.report.statistics import (
    Interval,
    fisher_exact,
    mcnemar_exact,
    mcnemar_midp,
    newcombe_interval,
    newcombe_paired_interval,
)
from headless_eval.results.pairing import Pairs
from headless_eval.results.record import EpisodeRecord
from headless_eval.results.sequential import ALPHA


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Success of a variant minus that of the baseline; ``Paired`` or ``Independent``.

    Args:
        difference: success rate of the variant minus that of the baseline, over the compared episodes.
        interval: the 95 % interval of the difference.
        p_value: the two-sided test that the rates are equal.
        p_holm: the p-value after Holm's correction over all variants; None for a single task, because tasks are not
            tested.
        detectable: the smallest drop that so many episodes show with 80 % power; None if they cannot show any drop, and
            for a single task.
    """

    TEST: ClassVar[str]
    OVER: ClassVar[str]

    difference: float
    interval: Interval
    p_value: float
    p_holm: float | None = None
    detectable: float | None = None

    @property
    def decided(self) -> str | None:
        """``worse`` or ``better`` if the rates differ after Holm's correction (p at most 0.05), else None."""
        if self.p_holm is None or self.p_holm > ALPHA:
            return None
        return "worse" if self.difference < 0 else "better"

    @property
    @abstractmethod
    def number(self) -> int:
        """The number of pairs, or of episodes on each side."""

    @abstractmethod
    def say(self, number: int) -> str:
        """Return so many pairs or episodes in words."""

    @property
    @abstractmethod
    def constant(self) -> bool:
        """Whether nothing varies in what was seen: more of the same has the same difference in every sample."""

    @abstractmethod
    def interval_of(self, number: int) -> Interval:
        """Return the interval of so many pairs or episodes with the observed shares."""

    @abstractmethod
    def drop_shown(self, highest: float, alpha: float) -> float | None:
        """Return the smallest drop that so many pairs or episodes show with 80 % power.

        Args:
            highest: the baseline's success rate, which no drop exceeds.
            alpha: level of the two-sided test.

        Returns:
            The drop; None if so few show no drop at all.
        """

    @abstractmethod
    def needed(self, drop: float, alpha: float) -> int | None:
        """Return the number of pairs or episodes that shows a drop with 80 % power.

        Args:
            drop: the drop of the success rate, above 0.
            alpha: level of the two-sided test.

        Returns:
            The number; None if the rates cannot drop so far, or ten million are too few.
        """


@dataclass(frozen=True, kw_only=True)
class Paired(Comparison):
    """Over the same episodes (``results.pairing``) that ended without error in both.

    The interval is Newcombe's of paired proportions, the test McNemar's exact one.

    Args:
        pairs: number of pairs.
        both: episodes that succeed for both.
        gained: episodes that succeed for the variant and fail for the baseline.
        lost: episodes that fail for the variant and succeed for the baseline.
    """

    TEST = "McNemar's exact test"
    OVER = "over the same episodes"

    pairs: int
    both: int
    gained: int
    lost: int

    @property
    def number(self) -> int:
        """The number of pairs."""
        return self.pairs

    def say(self, number: int) -> str:
        """Return so many pairs in words."""
        return _words(number, "paired episode")

    @property
    def constant(self) -> bool:
        """Whether all pairs are equal."""
        return self.gained == self.lost == 0

    @property
    def p_mid(self) -> float:
        """McNemar's mid-p value; decisions are made by the exact test."""
        return mcnemar_midp(self.gained, self.lost)

    @property
    def gain_rate(self) -> float:
        """The rate of gained pairs for the computation of power: (gained + 1/2) / (pairs + 1).

        0 if the baseline succeeds in all pairs, since then there is nothing to gain.
        """
        return (self.gained + 0.5) / (self.pairs + 1) if self.both + self.lost < self.pairs else 0.0

    def interval_of(self, number: int) -> Interval:
        """Return Newcombe's interval of so many pairs with the observed shares."""
        shares = [count * number / self.pairs for count in (self.both, self.gained, self.lost)]
        both, gained, lost = (round(share) for share in shares)
        return newcombe_paired_interval(both, gained, lost, max(0, number - both - gained - lost))

    def drop_shown(self, highest: float, alpha: float) -> float | None:
        """Return the smallest drop that so many pairs show with 80 % power; None if they show no drop."""
        return detectable_drop(self.pairs, self.gain_rate, highest, alpha)

    def needed(self, drop: float, alpha: float) -> int | None:
        """Return the number of pairs that shows a drop with 80 % power; None if no number does."""
        return pairs_needed(drop, self.gain_rate, alpha)


@dataclass(frozen=True, kw_only=True)
class Independent(Comparison):
    """Over episodes of the same task and number that are not known to be the same: two samples of equal size.

    The interval is Newcombe's of independent proportions, the test Fisher's exact one.

    Args:
        episodes: number of episodes on each side that ended without error on both.
        successes: those of the variant that succeed.
        reference: those of the baseline that succeed.
    """

    TEST = "Fisher's exact test"
    OVER = "over as many episodes of the same tasks, which are not known to be the same"

    episodes: int
    successes: int
    reference: int

    @property
    def number(self) -> int:
        """The number of episodes on each side."""
        return self.episodes

    def say(self, number: int) -> str:
        """Return so many episodes on each side in words."""
        return f"{_words(number, 'unpaired episode')} on each side"

    @property
    def constant(self) -> bool:
        """Whether both sides always fail or always succeed."""
        return {self.successes, self.reference} <= {0, self.episodes}

    def interval_of(self, number: int) -> Interval:
        """Return Newcombe's interval of so many episodes on each side with the observed rates."""
        successes, reference = (
            round(count * number / self.episodes) for count in (self.successes, self.reference)
        )
        return newcombe_interval(successes, number, reference, number)

    def drop_shown(self, highest: float, alpha: float) -> float | None:
        """Return the smallest drop that so many episodes on each side show; None if they show no drop."""
        return detectable_drop_of_samples(self.episodes, self._reference_rate, alpha)

    def needed(self, drop: float, alpha: float) -> int | None:
        """Return the number of episodes on each side that shows a drop; None if no number does."""
        found = episodes_needed(drop, self._reference_rate, alpha)
        return None if found is None else math.ceil(found)

    @property
    def _reference_rate(self) -> float:
        """The baseline's rate for the computation of power, never 0 or 1, where nothing would vary."""
        return (self.reference + 0.5) / (self.episodes + 1)


def compare_pairs(matched: Sequence[tuple[EpisodeRecord, EpisodeRecord]]) -> Paired | None:
    """Compare the first of each pair with the second, which is the baseline's; None without pairs."""
    counts = {(True, True): 0, (True, False): 0, (False, True): 0, (False, False): 0}
    for one, other in matched:
        counts[one.success, other.success] += 1
    return compare_counts(*counts.values()) if matched else None


def compare_counts(both: int, gained: int, lost: int, neither: int) -> Paired:
    """Compare a variant with the baseline by how many episodes succeed for both, for one of them, and for neither.

    Args:
        both: as of ``Paired``.
        gained: as of ``Paired``.
        lost: as of ``Paired``.
        neither: episodes that fail for both; there has to be an episode of one kind at least.
    """
    pairs = both + gained + lost + neither
    return Paired(
        pairs=pairs,
        both=both,
        gained=gained,
        lost=lost,
        difference=(gained - lost) / pairs,
        interval=newcombe_paired_interval(both, gained, lost, neither),
        p_value=mcnemar_exact(gained, lost),
    )


def compare_episodes(pairs: Pairs) -> Comparison | None:
    """Compare what ``pair`` found: the same episodes; if there are none, those that may be; None without either."""
    if pairs.matched or not pairs.unknown:
        return compare_pairs(pairs.matched)
    number = len(pairs.unknown)
    successes = sum(one.success for one, _ in pairs.unknown)
    reference = sum(other.success for _, other in pairs.unknown)
    return Independent(
        episodes=number,
        successes=successes,
        reference=reference,
        difference=(successes - reference) / number,
        interval=newcombe_interval(successes, number, reference, number),
        p_value=fisher_exact(successes, number, reference, number),
    )


def names_of_tests(comparisons: Iterable[Comparison | None]) -> str:
    """Return the names of the tests behind some comparisons, of which most are of one kind."""
    return " and ".join(dict.fromkeys(one.TEST for one in comparisons if one)) or Paired.TEST


def episodes_of(comparisons: Iterable[Comparison | None]) -> str:
    """Return over which episodes some comparisons are, in words."""
    return "; or ".join(dict.fromkeys(one.OVER for one in comparisons if one)) or Paired.OVER


def _words(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
