"""Quantities of the same episodes with two variants: whether they differ, by how much, and within which margin.

Values lie in two arrays, the baseline's and the other variant's, in the order of the episodes. A variant that changes
nothing may as well be the baseline: the two values of a pair are exchangeable, and differences are symmetric about 0.
Tests and intervals are exact under this hypothesis, or that of a variant that adds a constant or multiplies by one.
"""

import warnings
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from headless_eval.report.statistics import Interval

MOST_EXACT = 100
"""Pairs that differ, up to which the signed-rank test is exact."""

MOST_RESAMPLED = 200
"""Pairs up to which intervals come from resampling; for more they are Student's and Fieller's."""

LEAST = 6
"""The fewest differing pairs that an interval is given for: fewer pairs cannot reach 2.5 % on one side."""

LEVELS = (0.025, 0.05)
"""How often each end of the intervals may be wrong."""

_ALL_SUBSETS = 15
_SUBSETS, _RESAMPLES, _SEED = 9999, 1999, 0


class Change(NamedTuple):
    """A change of a mean from the baseline's: in the quantity's unit, or as a share of the baseline's mean.

    Args:
        value: the change in what was seen.
        interval: its 95 % interval, of which each end is wrong in at most 2.5 %.
        narrow: its 90 % interval, that of two one-sided tests at 5 %.
    """

    value: float
    interval: Interval
    narrow: Interval

    @property
    def equal_within(self) -> float:
        """The smallest margin within which the means are shown to be equal, at 5 %.

        Two one-sided tests (Schuirmann, Journal of Pharmacokinetics and Biopharmaceutics 15 (1987) 657-680) reject
        a difference of the margin in either direction if the 90 % interval lies within it.
        """
        return max(abs(end) for end in self.narrow)


def differences(reference: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the other variant's values minus the baseline's; what differs by rounding alone is equal.

    Args:
        reference: the baseline's values, (pairs,).
        other: the other variant's.
    """
    found = other - reference
    largest = max(np.abs(reference).max(initial=0.0), np.abs(other).max(initial=0.0))
    if not largest:
        return found
    digits = 10 - int(np.floor(np.log10(largest)))
    rounded: np.ndarray = np.round(found, digits)
    return rounded


def signed_rank(found: np.ndarray) -> float:
    """Return the two-sided p-value of Wilcoxon's signed-rank test that differences are symmetric about 0.

    Wilcoxon, "Individual comparisons by ranking methods", Biometrics Bulletin 1 (1945) 80-83. Differences of 0 are left
    out. Up to ``MOST_EXACT`` others the p-value is exact, given the ranks, also where differences are tied (SciPy's
    exact distribution knows no ties): the sum of the ranks that are positive, each with probability 1/2. For more it is
    SciPy's normal approximation with a correction for continuity.

    Args:
        found: the differences, (pairs,).
    """
    from scipy.stats import rankdata, wilcoxon

    unequal = found[found != 0]
    if not len(unequal):
        return 1.0
    if len(unequal) > MOST_EXACT:
        return float(wilcoxon(unequal, correction=True).pvalue)
    ranks = np.round(2 * rankdata(np.abs(unequal))).astype(int)  # doubled: mean ranks of ties are halves
    chances = np.zeros(ranks.sum() + 1)
    chances[0] = 1.0
    for rank in ranks:
        chances[rank:] = (chances[rank:] + chances[:-rank]) / 2
        chances[:rank] /= 2
    positive = int(ranks[unequal > 0].sum())
    least = min(chances[: positive + 1].sum(), chances[positive:].sum())
    return float(min(1.0, 2 * least))


def rank_direction(found: np.ndarray) -> int:
    """Return on which side of 0 the signed ranks of differences lie: 1 above, -1 below, 0 neither."""
    from scipy.stats import rankdata

    return int(np.sign(np.sign(found) @ rankdata(np.abs(found))))


def mean_change(reference: np.ndarray, other: np.ndarray, *, relative: bool = False) -> Change | None:
    """Return the change of the mean, or its share of the baseline's mean, with intervals.

    Each end of an interval is the farther one of two. The first is that of a test by random signs: a value is in the
    interval if the differences from it, summed with signs drawn at random, exceed their own sum often enough (Fisher,
    The Design of Experiments (1935), section 21; as an interval: Hartigan, Journal of the American Statistical
    Association 64 (1969) 1303-1317). It is exact if the differences are symmetric about the change. The second is the
    bootstrap's (BCa; Efron, Journal of the American Statistical Association 82 (1987) 171-185, by SciPy), which follows
    their skewness; alone it is too short for few pairs. All signs are tried up to 15 pairs, above that 9,999 drawn with
    a fixed seed. For more than ``MOST_RESAMPLED`` pairs the intervals are Student's, and Fieller's of the share.

    Args:
        reference: the baseline's values, (pairs,), finite; for a share not below 0.
        other: the other variant's.
        relative: return the share: the ratio of the means less 1.

    Returns:
        The change; None with fewer than ``LEAST`` pairs that differ, or a share of a mean of 0.
    """
    if np.count_nonzero(differences(reference, other)) < LEAST:
        return None
    if relative and (reference.mean() <= 0 or reference.min() < 0):
        return None
    value = other.mean() / reference.mean() - 1 if relative else (other - reference).mean()
    found = intervals(reference[None], other[None], relative=relative)[:, 0]
    return Change(float(value), *(Interval(float(low), float(high)) for low, high in found))


def intervals(reference: np.ndarray, other: np.ndarray, *, relative: bool = False) -> np.ndarray:
    """Return the 95 % and the 90 % intervals of ``mean_change`` of many quantities at once, (2, quantities, 2).

    Args:
        reference: the baseline's values, (quantities, pairs).
        other: the other variant's.
        relative: as of ``mean_change``.
    """
    if reference.shape[1] > MOST_RESAMPLED:
        find = _fieller if relative else _student
        return np.array([find(reference, other, level) for level in LEVELS])
    signs = _typical(reference, other, relative)
    found = []
    for level, resampled in zip(LEVELS, _bootstrap(reference, other, relative), strict=True):
        low, high = _ends(signs, level)
        # Values of which few differ have no BCa interval; SciPy says NaN.
        ends = np.fmin(low, resampled.low), np.fmax(high, resampled.high)
        found.append(np.stack(ends, axis=-1))
    return np.array(found)


@lru_cache(maxsize=4)
def subsets(pairs: int) -> np.ndarray:
    """Return subsets of the pairs as rows of 0 and 1, (subsets, pairs): all but the empty one, or many at random."""
    if pairs <= _ALL_SUBSETS:
        return ((np.arange(1, 2**pairs)[:, None] >> np.arange(pairs)) & 1).astype(float)
    return np.random.default_rng(_SEED).integers(0, 2, (_SUBSETS, pairs)).astype(float)


def _typical(reference: np.ndarray, other: np.ndarray, relative: bool) -> np.ndarray:
    """Return the change in each subset, sorted, (quantities, subsets).

    Signs of the pairs outside of a subset stay, those inside turn: the sum with signs is the smaller one where the
    subset's change is above 0.
    """
    chosen = subsets(reference.shape[1])
    below = reference @ chosen.T if relative else chosen.sum(axis=1)
    above = (other - reference) @ chosen.T
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.sort(above / below)  # NaN, of an empty subset, comes last


def _ends(changes: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of which each is wrong with probability ``level``; an empty subset counts as beyond both."""
    subsets, empty = changes.shape[1], np.isnan(changes).sum(axis=1)
    place = int(np.floor(level * (subsets + 1) + 1e-9)) - 1 - empty
    rows = np.arange(len(changes))
    low = np.where(place < 0, -np.inf, changes[rows, np.maximum(place, 0)])
    high = np.where(place < 0, np.inf, changes[rows, np.maximum(subsets - empty - 1 - place, 0)])
    return low, high


def _bootstrap(reference: np.ndarray, other: np.ndarray, relative: bool) -> list[Any]:
    """Return the bootstrap's intervals, one of each level: ``low`` and ``high``, NaN where too few values differ."""
    from scipy.stats import DegenerateDataWarning, bootstrap

    def share(other: np.ndarray, reference: np.ndarray, axis: int = -1) -> np.ndarray:
        found: np.ndarray = np.mean(other, axis=axis) / np.mean(reference, axis=axis) - 1
        return found

    data, statistic = ((other, reference), share) if relative else ((other - reference,), np.mean)
    found: list[Any] = []
    done: Any = None
    for level in LEVELS:
        with np.errstate(divide="ignore", invalid="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", DegenerateDataWarning)  # the NaN says it, and is allowed for
            done = bootstrap(
                data,
                statistic,
                axis=-1,
                paired=relative,
                vectorized=True,
                confidence_level=1 - 2 * level,
                n_resamples=0 if done else _RESAMPLES,
                bootstrap_result=done,
                method="BCa",
                random_state=np.random.default_rng(_SEED),
            )
        found.append(done.confidence_interval)
    return found


def _student(reference: np.ndarray, other: np.ndarray, level: float) -> np.ndarray:
    from scipy.stats import t

    found = other - reference
    number = found.shape[1]
    half = t.isf(level, number - 1) * found.std(axis=1, ddof=1) / np.sqrt(number)
    middle = found.mean(axis=1)
    return np.stack([middle - half, middle + half], axis=-1)


def _fieller(reference: np.ndarray, other: np.ndarray, level: float) -> np.ndarray:
    """Return the shares that Student's test of ``other - (1 + share) * reference`` does not reject.

    Fieller, Journal of the Royal Statistical Society B 16 (1954) 175-185.
    """
    from scipy.stats import t

    number = reference.shape[1]
    low, high = reference.mean(axis=1), other.mean(axis=1)
    scale = t.isf(level, number - 1) ** 2 / number / (number - 1)
    one, two = reference - low[:, None], other - high[:, None]
    square = low**2 - scale * (one * one).sum(axis=1)
    middle = low * high - scale * (one * two).sum(axis=1)
    rest = high**2 - scale * (two * two).sum(axis=1)
    root = np.sqrt(np.maximum(middle**2 - square * rest, 0.0))
    with np.errstate(divide="ignore", invalid="ignore"):
        ends = np.stack([(middle - root) / square - 1, (middle + root) / square - 1], axis=-1)
    ends[square <= 0] = -np.inf, np.inf
    return ends
