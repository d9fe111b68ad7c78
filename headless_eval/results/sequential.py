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
    """Sequential test whether a variant succeeds less often than the baseline, fed pair by pair.

    The test bets against two hypotheses at once. ``worse`` means that success drops; this decision is wrong with
    probability at most alpha if the expected drop is above 0 at no pair. ``not_worse`` means that success does not drop
    by ``margin``; this decision is wrong with probability at most alpha if the expected drop is ``margin`` or more at
    every pair. The wealth is spread evenly over a hundred constant stakes, so that it grows nearly as fast as with the
    best stake. A decision is final.

    The state depends only on the pairs: after an interruption, feed the journal's pairs again.

    Args:
        alpha: the accepted probability of a wrong decision of either kind; with several variants, divide it by their
            number.
        margin: the drop of the success rate that would matter, above 0 and below 1; None never decides ``not_worse``.

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
        self._against_equal = np.zeros_like(_STAKES)
        self._against_drop = np.zeros_like(_STAKES)

    def update(self, success_reference: bool, success_other: bool) -> Decision:
        """Take one pair (same task and episode) and return the decision so far."""
        self.pairs += 1
        drop = int(success_reference) - int(success_other)
        if drop:
            self._against_equal += np.log1p(_STAKES * drop)
        if self.margin is not None:
            # A lost pair takes the whole largest stake: the odds are worse than even by the margin.
            self._against_drop += np.log1p(_STAKES / (1 - self.margin) * (self.margin - drop))
        if self.decision == "continue":
            if self.evidence_worse >= 1 / self.alpha:
                self.decision = "worse"
            elif self.evidence_not_worse >= 1 / self.alpha:
                self.decision = "not_worse"
        return self.decision

    @property
    def evidence_worse(self) -> float:
        """The wealth (e-value) against "no drop", now."""
        return _mean_exp(self._against_equal)

    @property
    def evidence_not_worse(self) -> float:
        """The wealth (e-value) against "a drop of ``margin`` or more", now; 1 without a margin."""
        return _mean_exp(self._against_drop)


def _mean_exp(logarithms: np.ndarray) -> float:
    """Return the mean of exponentials; infinite only where a float cannot hold it."""
    highest = float(logarithms.max())
    with np.errstate(over="ignore"):
        return float(np.exp(highest) * np.exp(logarithms - highest).mean())
