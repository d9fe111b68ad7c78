"""Psychometric functions: how success depends on how hard a task is, on a grid of parameters.

With the ease x of a level (the logarithm of its value, or less it where more is harder), success has the probability

    chance + (1 - chance - lapse) / (1 + exp(-slope (x - position)))

(Wichmann and Hill, "The psychometric function: I. Fitting, sampling, and goodness of fit", Perception & Psychophysics
63 (2001) 1293-1313). The threshold is the level at which the probability has a given value, one half unless another is
asked for. The grid is over the threshold itself, the width of the transition and the lapse rate, so that many data sets
are fitted by one product of matrices, and the uncertainty of the threshold can be read from it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from msgspec import Meta

from headless_eval.shared.untrusted import convert

LARGEST_LAPSE = 0.1
"""Failures that have nothing to do with the level are at most this frequent."""

_THRESHOLDS, _WIDTHS, _LAPSES = 121, 17, 6
_TRANSITION = 2 * np.log(9)  # of the logistic function from 10 to 90 %, in units of 1 / slope
_AT_ONCE = 100  # data sets


class Scale(NamedTuple):
    """The levels of a family of tasks.

    Args:
        family: its name.
        unit: of the levels.
        harder: whether less or more is harder.
        chance: success of a policy that guesses.
        levels: the values in rising order; at least two.
        tasks: the ids of the tasks, one a level.
    """

    family: str
    unit: str
    harder: Literal["less", "more"]
    chance: float
    levels: tuple[float, ...]
    tasks: tuple[int, ...]

    @property
    def logarithmic(self) -> bool:
        """Whether ease goes with the logarithm of a level; with the level itself where one is 0 or less."""
        return self.levels[0] > 0

    def ease(self, level: float) -> float:
        """Return how easy a level is: a number that rises where tasks become easier."""
        place = float(np.log(level)) if self.logarithmic else level
        return place if self.harder == "less" else -place

    def level(self, ease: Any) -> Any:
        """Return the level of an ease, or of an array of them."""
        place = ease if self.harder == "less" else -ease
        return np.exp(place) if self.logarithmic else place


@dataclass(frozen=True)
class _Difficulty:
    """What a manifest states of a task's difficulty."""

    family: str
    value: Annotated[float, Meta(ge=-1e9, le=1e9)]
    unit: str
    harder: Literal["less", "more"]
    chance: Annotated[float, Meta(ge=0, lt=1)] = 0.0


def scales_of(tasks: Sequence[Mapping[str, Any]]) -> list[Scale]:
    """Return the scales of a manifest's tasks: those families that have two levels or more, in order.

    Tasks under a perturbation are left out: they are hard for another reason, too. Entries that state no difficulty, or
    a damaged one, are left out, too.
    """
    found: dict[tuple[str, str, str, float], dict[float, int]] = {}
    for task in tasks:
        if task.get("difficulty") is None or task.get("perturbation"):
            continue
        try:
            one = convert(task["difficulty"], _Difficulty)
        except ValueError:
            continue
        found.setdefault((one.family, one.unit, one.harder, one.chance), {}).setdefault(one.value, task["id"])
    return [
        Scale(
            family,
            unit,
            "less" if harder == "less" else "more",
            chance,
            *zip(*sorted(of.items()), strict=True),
        )
        for (family, unit, harder, chance), of in found.items()
        if len(of) > 1
    ]


class Threshold(NamedTuple):
    """A threshold, as a level.

    Args:
        value: the estimate.
        low: the lower end of its 95 % interval; None if it lies beyond what the levels can tell.
        high: the upper end.
    """

    value: float
    low: float | None
    high: float | None


class Grid:
    """All parameters that a curve may have, with their prior, and the success that they give at each level.

    The prior is weak: of the threshold, normal around the middle of the levels, with their range as its standard
    deviation; of the width, log-normal around half the range, with a factor of 4; the lapse rate is uniform from 0 to
    ``LARGEST_LAPSE``. With it, data that always succeed have an answer, too: a threshold beyond the levels.

    Args:
        scale: the levels.
        performance: the probability of success at the threshold, above ``scale.chance`` and below 1 less
            ``LARGEST_LAPSE``.

    Attributes:
        thresholds: eases, (thresholds,).
        widths: in ease, from 10 to 90 % of the transition, (widths,).
        lapses: rates, (lapses,).

    Raises:
        ValueError: there is no threshold of this performance.
    """

    def __init__(self, scale: Scale, performance: float = 0.5) -> None:
        if not scale.chance < performance < 1 - LARGEST_LAPSE:
            raise ValueError(
                f"no threshold at {performance:g}: it must be above chance, {scale.chance:g}, and below "
                f"{1 - LARGEST_LAPSE:g}"
            )
        self.scale, self.performance = scale, performance
        self.eases = np.array([scale.ease(level) for level in scale.levels])
        low, high = float(self.eases.min()), float(self.eases.max())
        self._range = high - low
        self.thresholds = np.linspace(low - self._range / 2, high + self._range / 2, _THRESHOLDS)
        self.widths = np.geomspace(self._range / 20, 4 * self._range, _WIDTHS)
        self.lapses = np.linspace(0, LARGEST_LAPSE, _LAPSES)
        self.prior = (
            -0.5 * ((self.thresholds - (low + high) / 2) / self._range)[:, None, None] ** 2
            - 0.5 * (np.log(self.widths / (self._range / 2)) / np.log(4))[None, :, None] ** 2
            + np.zeros(_LAPSES)
        )
        self.success = self.curve(
            self.thresholds[:, None, None, None],
            self.widths[:, None, None],
            self.lapses[:, None],
            self.eases,
        )

    def curve(self, threshold: Any, width: Any, lapse: Any, ease: Any) -> np.ndarray:
        """Return the probability of success; arguments are numbers or arrays that fit each other."""
        span = 1 - self.scale.chance - lapse
        share = (self.performance - self.scale.chance) / span
        slope = _TRANSITION / width
        rise = slope * (ease - threshold) + np.log(share / (1 - share))
        found: np.ndarray = self.scale.chance + span / (1 + np.exp(-rise))
        return found

    @cached_property
    def _logarithms(self) -> tuple[np.ndarray, np.ndarray]:
        flat = np.clip(self.success.reshape(-1, len(self.eases)), 1e-9, 1 - 1e-9)
        return np.log(flat).T.copy(), np.log1p(-flat).T.copy()

    def posterior(self, successes: np.ndarray, trials: np.ndarray) -> np.ndarray:
        """Return the logarithm of likelihood times prior, (data sets, thresholds, widths, lapses).

        Args:
            successes: at each level, (data sets, levels).
            trials: at each level, of the same shape.
        """
        win, lose = self._logarithms
        found: np.ndarray = successes @ win + (trials - successes) @ lose
        return found.reshape(-1, *self.prior.shape) + self.prior

    def marginal(self, posterior: np.ndarray) -> np.ndarray:
        """Return the probability of each threshold, (data sets, thresholds); see ``posterior``."""
        found = np.exp(posterior - posterior.max(axis=(1, 2, 3), keepdims=True)).sum(axis=(2, 3))
        shares: np.ndarray = found / found.sum(axis=1, keepdims=True)
        return shares

    def quantiles(self, marginal: np.ndarray, shares: Sequence[float]) -> np.ndarray:
        """Return quantiles of the threshold as eases, (data sets, shares)."""
        below = np.cumsum(marginal, axis=1) - marginal / 2
        return np.array([np.interp(shares, row, self.thresholds) for row in below])

    def thresholds_of(self, successes: np.ndarray, trials: np.ndarray) -> np.ndarray:
        """Return the threshold of each data set as an ease, (data sets,): the median; see ``posterior``."""
        found = [
            self.quantiles(self.marginal(self.posterior(some, many)), (0.5,))[:, 0]
            for some, many in zip(
                np.array_split(successes, -(-len(successes) // _AT_ONCE)),
                np.array_split(trials, -(-len(successes) // _AT_ONCE)),
                strict=True,
            )
        ]
        return np.concatenate(found)

    def fit(self, successes: np.ndarray, trials: np.ndarray) -> "Fit":
        """Return the curve of one data set, successes and trials at each level, (levels,) each.

        The threshold is the posterior's median, its interval the central 95 %, width and lapse integrated over; an end
        beyond the levels is None. (Kuss, Jäkel, Wichmann, Journal of Vision 5(5) (2005) 8.)
        """
        posterior = self.posterior(successes[None], trials[None])
        low, ease, high = self.quantiles(self.marginal(posterior), (0.025, 0.5, 0.975))[0]
        near = int(np.abs(self.thresholds - ease).argmin())
        width, lapse = np.unravel_index(int(posterior[0, near].argmax()), (_WIDTHS, _LAPSES))
        ends = [
            self._level_within(end) for end in ((low, high) if self.scale.harder == "less" else (high, low))
        ]
        return Fit(
            self,
            Threshold(float(self.scale.level(ease)), *ends),
            float(ease),
            float(self.widths[width]),
            float(self.lapses[lapse]),
        )

    def _level_within(self, ease: float) -> float | None:
        """Return the level of an ease; None beyond the levels that there are."""
        return float(self.scale.level(ease)) if self.eases.min() <= ease <= self.eases.max() else None


@dataclass(frozen=True)
class Fit:
    """A fitted curve.

    Args:
        grid: where it was searched.
        threshold: as a level, with its interval.
        ease: the threshold as an ease.
        width: of the transition from 10 to 90 %, in ease.
        lapse: the rate of failures at the easiest level.
    """

    grid: Grid
    threshold: Threshold
    ease: float
    width: float
    lapse: float

    @property
    def beyond(self) -> Literal["harder", "easier"] | None:
        """Whether the threshold is harder or easier than all levels, where the prior decides its value."""
        if self.ease < self.grid.eases.min():
            return "harder"
        return "easier" if self.ease > self.grid.eases.max() else None

    def success(self, ease: np.ndarray) -> np.ndarray:
        """Return the probability of success at eases, (points,)."""
        return self.grid.curve(self.ease, self.width, self.lapse, ease)
