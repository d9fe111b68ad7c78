"""Whether a perturbation costs a variant more success than the baseline: an exact test of the interaction."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np


def excess(plain: np.ndarray, perturbed: np.ndarray) -> np.ndarray:
    """Return by how much more success each episode costs the variant under perturbations than plain, (episodes,).

    Of an episode's four results it is the difference of differences: that of the variant to the baseline under the
    perturbation, less that on the plain task; summed over several conditions.

    Args:
        plain: success of baseline and variant on the plain task, 0 or 1, (2, episodes).
        perturbed: the same under each condition, (conditions, 2, episodes).
    """
    ours = perturbed[:, 1] - perturbed[:, 0]
    found: np.ndarray = (ours - (plain[1] - plain[0])).sum(axis=0).astype(int)
    return found


def interaction_test(scores: np.ndarray) -> float:
    """Return the two-sided p-value that scores, (episodes,), are symmetric about 0: no interaction.

    If the perturbation makes variant and baseline no more different than they are, an episode's difference under the
    perturbation and its difference without are exchangeable, and a score is as probable as its negative. Given the
    scores' sizes, the distribution of their sum is that of random signs (Fisher, The Design of Experiments (1935),
    section 21), which is computed exactly. With a baseline and a variant that succeed in every plain episode it is
    McNemar's exact test of the perturbed ones.
    """
    sizes, numbers = np.unique(np.abs(scores[scores != 0]), return_counts=True)
    counted = tuple(zip(sizes.tolist(), numbers.tolist(), strict=True))
    return random_signs(counted, abs(int(scores.sum())))


@lru_cache(maxsize=65_536)
def random_signs(sizes: Sequence[tuple[int, int]], total: int) -> float:
    """Return the probability that numbers with random signs add up to ``total`` or more in either direction.

    Args:
        sizes: pairs of a number and how often it occurs.
        total: 0 or more.
    """
    from scipy.signal import convolve
    from scipy.stats import binom

    chances = np.ones(1)  # of the sum of the numbers that are positive
    for size, number in sizes:
        one = np.zeros(size * number + 1)
        one[::size] = binom.pmf(np.arange(number + 1), number, 0.5)
        chances = convolve(chances, one)
    most = len(chances) - 1
    if total == 0:
        return 1.0
    # The sum with signs is twice that of the positive ones, less that of all.
    return float(min(1.0, 2 * chances[(total + most + 1) // 2 :].sum()))
