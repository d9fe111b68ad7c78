"""Success against difficulty: a curve per variant and family of graded tasks, its threshold, and how it differs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from headless_eval.report.csv_file import write_rows
from headless_eval.report.statistics import Interval
from headless_eval.results.pairing import pair
from headless_eval.results.psychometric import Fit, Grid, Scale, scales_of
from headless_eval.results.record import ERROR, EpisodeRecord

THRESHOLD = 0.5
"""The success rate that thresholds are of, unless another is asked for."""

COLUMNS = (
    *("configuration", "family", "unit", "harder", "chance", "performance", "episodes"),
    *("threshold", "threshold_low", "threshold_high", "beyond", "width", "lapse"),
    *("difference", "difference_low", "difference_high", "at_least"),
)
"""The columns of ``psychometric.csv``."""


@dataclass(frozen=True)
class Shift:
    """The threshold of a variant less the baseline's, in the unit of the levels.

    Args:
        value: the estimate.
        interval: its 95 % interval.
        censored: whether a threshold lies beyond the levels, and counts as the last one: a difference is at least the
            end of the interval that is nearer to 0.
    """

    value: float
    interval: Interval
    censored: bool


@dataclass(frozen=True)
class Curve:
    """Success of a variant on a family of tasks.

    Args:
        configuration: the variant's name.
        scale: the levels.
        successes: at each level.
        episodes: at each level, those that ended without an error.
        fit: the fitted curve.
        shift: compared with the baseline on the episodes that both ran; None for the baseline, and without such.
    """

    configuration: str
    scale: Scale
    successes: tuple[int, ...]
    episodes: tuple[int, ...]
    fit: Fit
    shift: Shift | None

    @property
    def differs(self) -> bool:
        """Whether the interval of the difference is above or below 0."""
        return self.shift is not None and (self.shift.interval.low > 0 or self.shift.interval.high < 0)

    @property
    def worse(self) -> bool:
        """Whether the threshold is easier than the baseline's: the variant fails sooner."""
        return self.shift is not None and (self.shift.value > 0) == (self.scale.harder == "less")


def curves_of(
    records: Sequence[EpisodeRecord],
    manifest: Mapping[str, Any],
    baseline: str,
    performance: float = THRESHOLD,
) -> tuple[Curve, ...]:
    """Return the curves of a run, by family and variant; none where no family has two levels.

    Args:
        records: one record per trial.
        manifest: of the run; its tasks state their difficulty.
        baseline: the name of the variant that the others are compared with.
        performance: the success rate that thresholds are of; families whose chance is not below it have no curves.
    """
    found = []
    for scale in scales_of(manifest.get("tasks") or []):
        if scale.chance >= performance:
            continue
        grid, place = Grid(scale, performance), {task: index for index, task in enumerate(scale.tasks)}
        by_variant: dict[str, list[EpisodeRecord]] = {}
        for record in records:
            if record.task_id in place and record.status != ERROR:
                by_variant.setdefault(record.configuration, []).append(record)
        for name, mine in by_variant.items():
            wins, trials = _counts(mine, place)
            if np.count_nonzero(trials) < 2:
                continue
            shift = None
            if name != baseline and baseline in by_variant:
                matched = pair(mine, by_variant[baseline]).matched
                sides = [_counts([both[side] for both in matched], place) for side in (1, 0)]
                shift = _shift(grid, *sides) if np.count_nonzero(sides[0][1]) > 1 else None
            found.append(Curve(name, scale, _whole(wins), _whole(trials), grid.fit(wins, trials), shift))
    return tuple(found)


def _counts(records: Sequence[EpisodeRecord], place: Mapping[int, int]) -> tuple[np.ndarray, np.ndarray]:
    levels = np.array([place[record.task_id] for record in records], int)
    wins = np.array([record.success for record in records], bool)
    return (
        np.bincount(levels[wins], minlength=len(place)).astype(float),
        np.bincount(levels, minlength=len(place)).astype(float),
    )


def _whole(counts: np.ndarray) -> tuple[int, ...]:
    return tuple(int(count) for count in counts)


def _shift(grid: Grid, one: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray]) -> Shift:
    """Return how the threshold of the second lies from that of the first, successes and trials of each."""
    scale, ends = grid.scale, (grid.eases.min(), grid.eases.max())
    eases = [float(grid.thresholds_of(wins[None], trials[None])[0]) for wins, trials in (one, other)]
    shares = [grid.marginal(grid.posterior(wins[None], trials[None]))[0] for wins, trials in (one, other)]
    before, after = (float(scale.level(np.clip(ease, *ends))) for ease in eases)
    censored = any(not ends[0] <= ease <= ends[1] for ease in eases)
    return Shift(after - before, interval_of_shift(grid, *shares), censored)


def interval_of_shift(grid: Grid, one: np.ndarray, other: np.ndarray) -> Interval:
    """Return the central 95 % of the difference of two thresholds, as levels; those beyond count as the last level.

    The posteriors are taken as independent, though pairs make them alike: the interval is rather too long than too
    short. (A bootstrap over pairs is too short for few episodes a level: see docs/statistics.md.)

    Args:
        grid: of both.
        one: the probability of each threshold of the first, (thresholds,).
        other: of the second.
    """
    levels = grid.scale.level(np.clip(grid.thresholds, grid.eases.min(), grid.eases.max()))
    differences = (levels[None, :] - levels[:, None]).ravel()
    order = np.argsort(differences, kind="stable")
    shares = (one[:, None] * other[None, :]).ravel()[order]
    below = np.cumsum(shares) - shares / 2
    low, high = np.interp((0.025, 0.975), below, differences[order])
    return Interval(float(low), float(high))


def write_curves_csv(path: Path, curves: Sequence[Curve]) -> None:
    """Write ``psychometric.csv``: a header, and a line per family and variant."""
    write_rows(path, COLUMNS, map(_row, curves))


def _row(one: Curve) -> list[Any]:
    """Return the values of ``COLUMNS``."""
    scale, fit, shift = one.scale, one.fit, one.shift
    return [
        *(one.configuration, scale.family, scale.unit, scale.harder, scale.chance),
        *(fit.grid.performance, sum(one.episodes)),
        *(fit.threshold.value, fit.threshold.low, fit.threshold.high, fit.beyond, fit.width, fit.lapse),
        *((None,) * 4 if shift is None else (shift.value, *shift.interval, shift.censored)),
    ]


def number(value: float) -> str:
    """Return a level to two significant digits, or as many as are before its point."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.2g}"


def say_threshold(one: Curve) -> str:
    """Return the threshold of a curve with its interval: ``2.1 mm (1.5 to 2.9)``."""
    unit, levels = one.scale.unit, one.scale.levels
    if one.fit.beyond is not None:
        harder_is_low = one.scale.harder == "less"
        below = (one.fit.beyond == "harder") == harder_is_low
        end = one.fit.threshold.high if below else one.fit.threshold.low
        limit = levels[0] if below else levels[-1]
        more = "" if end is None else f" ({'at most' if below else 'at least'} {number(end)})"
        return f"{'below' if below else 'above'} {limit:g} {unit}, beyond the tested levels{more}"
    low, high = one.fit.threshold.low, one.fit.threshold.high
    ends = f"{'below ' if low is None else ''}{number(levels[0] if low is None else low)} to "
    ends += f"{'above ' if high is None else ''}{number(levels[-1] if high is None else high)}"
    return f"{number(one.fit.threshold.value)} {unit} ({ends})"


def say_shift(one: Curve, baseline: str) -> str:
    """Return how the threshold of a variant differs, in a sentence that continues after the family's name."""
    shift, scale = one.shift, one.scale
    rate = f"{100 * one.fit.grid.performance:g} %"
    where = say_threshold(one) if one.fit.beyond else f"at {say_threshold(one)}"
    if shift is None:
        return f"{one.configuration} succeeds in {rate} {where}."
    low, high = shift.interval
    if not one.differs:
        by = (
            ""
            if shift.censored
            else f", {_signed(shift.value)} {scale.unit} ({_signed(low)} to {_signed(high)})"
        )
        return f"{one.configuration} is not shown to differ from {baseline}: {rate} succeed {where}{by}."
    near, far = sorted((abs(low), abs(high)))
    verb, more = "needs" if scale.harder == "less" else "bears", "more" if shift.value > 0 else "less"
    size = f"{number(abs(shift.value))} {scale.unit} {more} than {baseline} ({number(near)} to {number(far)})"
    if shift.censored:  # how much further, no level tells
        size = f"at least {number(near)} {scale.unit} {more} than {baseline}"
    return f"{one.configuration} {verb} {size} to succeed in {rate}."


def families_of(curves: Sequence[Curve]) -> dict[str, list[Curve]]:
    """Return the curves of each family, by its name and unit."""
    found: dict[str, list[Curve]] = {}
    for one in curves:
        found.setdefault(f"{one.scale.family}, {one.scale.unit}", []).append(one)
    return found


def curve_lines(curves: Sequence[Curve], baseline: str) -> list[str]:
    """Return a line per family and variant for the terminal."""
    return [
        f"{family}: {say_shift(one, baseline)}" for family, of in families_of(curves).items() for one in of
    ]


def _signed(value: float) -> str:
    text = number(abs(value))
    return "0" if float(text) == 0 else f"{'+' if value > 0 else '−'}{text}"
