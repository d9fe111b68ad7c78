"""Sequential test of pairs: it may be checked after every episode, and stops the run as soon as it decides.

Checking an ordinary p-value after every episode until it is small finds differences that do not exist. A test by
betting does not have this flaw. A bettor starts with wealth 1 and, before each pair, stakes part of it on the pair
being lost, at odds that are fair or unfavourable while a hypothesis is true. Then the probability that the wealth
*ever* reaches 1 / alpha is at most alpha, whenever the test stops and whatever follows (Ville, "Étude critique de la
notion de collectif", 1939; Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting",
Journal of the Royal Statistical Society B 86 (2024) 1-27; Ramdas, Grünwald, Vovk, Shafer, "Game-theoretic statistics
and safe anytime-valid inference", Statistical Science 38 (2023) 576-601).
"""

from typing import Literal

import numpy as np

Decision = Literal["continue", "worse", "not_worse"]

ALPHA = 0.05
"""The level of all tests of a run's variants, sequential or not."""

_STAKES = (np.arange(100) + 0.5) / 100


class SequentialTest:
    """Sequential test whether a variant is worse than the baseline, fed pair by pair.

    Episodes are as good as a number from 0 to 1 says: success is 1 and failure 0, or what a bounded outcome says
    (``results.bounded``). The test bets against two hypotheses at once. ``worse`` means that this number drops on
    average; this decision is wrong with probability at most alpha if the expected drop is above 0 at no pair.
    ``not_worse`` means that it does not drop by ``margin``; this decision is wrong with probability at most alpha if
    the expected drop is ``margin`` or more at every pair. The wealth is spread evenly over a hundred constant
    stakes, so that it grows nearly as fast as with the best stake. A decision is final.

    The state depends only on the pairs: after an interruption, feed the journal's pairs again.

    Args:
        alpha: the accepted probability of a wrong decision of either kind; with several variants, divide it by their
            number.
        margin: the drop that would matter, above 0 and below 1; None never decides ``not_worse``.

    Attributes:
        decision: ``worse``, ``not_worse``, or ``continue`` before a decision.
        pairs: the number of pairs taken.

    Raises:
        ValueError: alpha or margin is out of range.
    """

    def __init__(self, alpha: float = 0.05, margin: float | None = 0.05) -> None:
        if not 0 < alpha < 1:
            raise ValueError(f"alpha is {alpha:g}; it must be between 0 and 1")
        if margin is not None and not 0 < margin < 1:
            raise ValueError(f"the margin is {margin:g}; it must be between 0 and 1")
        self.alpha, self.margin = alpha, margin
        self.decision: Decision = "continue"
        self.pairs = 0
        self._on_loss = _Bet(0.0)
        self._on_no_loss = None if margin is None else _Bet(-margin)

    def update(self, reference: float, other: float) -> Decision:
        """Take one pair (same task and episode) and return the decision so far.

        Args:
            reference: how good the baseline's episode is, from 0 to 1: success, or a bounded outcome.
            other: how good the other variant's is.
        """
        self.pairs += 1
        drop = float(reference) - float(other)
        self._on_loss.settle(drop)
        if self._on_no_loss is not None:
            self._on_no_loss.settle(-drop)
        if self.decision == "continue":
            if self.evidence_worse >= 1 / self.alpha:
                self.decision = "worse"
            elif self.evidence_not_worse >= 1 / self.alpha:
                self.decision = "not_worse"
        return self.decision

    @property
    def evidence_worse(self) -> float:
        """The wealth (e-value) against "no drop", now."""
        return self._on_loss.wealth

    @property
    def evidence_not_worse(self) -> float:
        """The wealth (e-value) against "a drop of ``margin`` or more", now; 1 without a margin."""
        return 1.0 if self._on_no_loss is None else self._on_no_loss.wealth


class MarginTest:
    """Sequential test on which side of a margin the drop of the success rate lies, fed pair by pair.

    ``within`` is wrong with probability at most alpha if the expected drop is ``margin`` or more at every pair;
    ``beyond`` is wrong with probability at most alpha if it is more than ``margin`` at no pair. A decision is final.

    Args:
        alpha: the accepted probability of a wrong decision of either kind.
        margin: the allowed drop of the success rate, from 0 to below 1.

    Attributes:
        decision: ``within``, ``beyond``, or ``continue`` before a decision.
        pairs: the number of pairs taken.
    """

    def __init__(self, alpha: float, margin: float) -> None:
        self.alpha, self.margin = alpha, margin
        self.decision: Literal["continue", "within", "beyond"] = "continue"
        self.pairs = 0
        self._within, self._beyond = _Bet(-margin), _Bet(margin)

    def update(self, reference: float, other: float, times: float = 1) -> None:
        """Take one pair (same task and episode); or, to look ahead, so many equal pairs, of which parts are allowed."""
        self.pairs += 1
        drop = float(reference) - float(other)
        self._within.settle(-drop, times)
        self._beyond.settle(drop, times)
        if self.decision == "continue":
            if self.evidence_within >= 1 / self.alpha:
                self.decision = "within"
            elif self.evidence_beyond >= 1 / self.alpha:
                self.decision = "beyond"

    @property
    def evidence_within(self) -> float:
        """The wealth (e-value) against "a drop of ``margin`` or more", now."""
        return self._within.wealth

    @property
    def evidence_beyond(self) -> float:
        """The wealth (e-value) against "a drop of ``margin`` or less", now."""
        return self._beyond.wealth


class _Bet:
    """Wealth of a bettor who stakes on numbers in -1 to 1 being above ``mean`` on average.

    The odds are fair if the numbers' expectation is ``mean``. A number -1 takes the whole of the largest stake.
    """

    def __init__(self, mean: float) -> None:
        self._mean = mean
        self._logarithms = np.zeros_like(_STAKES)

    def settle(self, number: float, times: float = 1) -> None:
        """Pay out one bet, or so many equal bets."""
        if number != self._mean:
            self._logarithms += times * np.log1p(_STAKES / (1 + self._mean) * (number - self._mean))

    @property
    def wealth(self) -> float:
        """The mean over all stakes; infinite only where a float cannot hold it."""
        highest = float(self._logarithms.max())
        with np.errstate(over="ignore"):
            return float(np.exp(highest) * np.exp(self._logarithms - highest).mean())
