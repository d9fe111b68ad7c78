"""What perturbations cost each variant: success under each condition of a sweep, beside the baseline's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from headless_eval.report.comparison import Paired, compare_counts
from headless_eval.report.interaction import excess, interaction_test
from headless_eval.report.statistics import holm
from headless_eval.report.tables import p_text
from headless_eval.results.record import ERROR, EpisodeRecord
from headless_eval.results.sequential import ALPHA
from headless_eval.sims.perturbation import AXES, axis_of


@dataclass(frozen=True)
class Condition:
    """A condition of a sweep: an axis at a level, or a quantity at a size; ``PLAIN`` is the unperturbed task."""

    axis: str
    size: float

    @property
    def label(self) -> str:
        """Return its name: ``light 2``, ``light.dim 0.6`` or ``plain``."""
        return f"{self.axis} {self.size:g}" if self.axis else "plain"


PLAIN = Condition("", 0)


@dataclass(frozen=True)
class Cell:
    """One variant under one condition.

    Args:
        episodes: episodes that ended in success or failure.
        successes: episodes that succeeded.
        to_plain: success under the condition less that of the same episodes without; None for the plain task.
        to_baseline: success less the baseline's under the same condition; None for the baseline.
        p_value: of the interaction at this condition alone; None for the baseline and the plain task.
    """

    episodes: int
    successes: int
    to_plain: Paired | None
    to_baseline: Paired | None
    p_value: float | None


@dataclass(frozen=True)
class AxisTest:
    """Whether an axis costs a variant more than the baseline, all of the axis's conditions together.

    Args:
        configuration: the variant's name.
        axis: the axis, or its quantity.
        episodes: episodes with a result of both, plain and under each condition.
        excess: mean over episodes and conditions of the success that the perturbation costs the variant beyond what
            it costs the baseline; negative if it costs the variant more.
        p_value: of the interaction.
        p_holm: after Holm's correction over all variants and axes.
    """

    configuration: str
    axis: str
    episodes: int
    excess: float
    p_value: float
    p_holm: float = 1.0

    @property
    def decided(self) -> str | None:
        """``worse`` or ``better`` than the baseline if the interaction is shown, else None."""
        if self.p_holm > ALPHA:
            return None
        return "worse" if self.excess < 0 else "better"


@dataclass(frozen=True)
class Robustness:
    """A sweep's results.

    Args:
        baseline: the variant that others are compared with.
        configurations: the variants' names, in order.
        conditions: the plain task, then the conditions, axis by axis.
        cells: by variant and condition; only those with episodes.
        tests: of each variant but the baseline and each axis.
    """

    baseline: str
    configurations: tuple[str, ...]
    conditions: tuple[Condition, ...]
    cells: Mapping[tuple[str, Condition], Cell]
    tests: tuple[AxisTest, ...]

    @cached_property
    def axes(self) -> dict[str, list[Condition]]:
        """The conditions of each axis."""
        found: dict[str, list[Condition]] = {}
        for condition in self.conditions[1:]:
            found.setdefault(condition.axis, []).append(condition)
        return found

    def sentences(self) -> dict[str, tuple[str, str]]:
        """Return a verdict on each variant but the baseline: its kind, and a sentence that goes on after the name."""
        return {name: self._judge(name) for name in self.configurations if name != self.baseline}

    def _judge(self, name: str) -> tuple[str, str]:
        tests = [one for one in self.tests if one.configuration == name]
        worse = [one for one in tests if one.decided == "worse"]
        better = [one for one in tests if one.decided == "better"]
        rest = [one.axis for one in tests if one.decided is None]
        if not tests:
            return "nothing", f"has no episodes in common with {self.baseline} under any perturbation."
        said = []
        if worse:
            said.append(f"fails where {self.baseline} does not: {'; '.join(map(self._lost, worse))}")
        if better:
            said.append(f"succeeds where {self.baseline} fails: {'; '.join(map(self._lost, better))}")
        if rest:
            said.append(
                ("not shown under " if said else f"is not shown to lose more than {self.baseline} under ")
                + ", ".join(rest)
            )
        return ("worse" if worse else "better" if better else "undecided"), "; ".join(said) + "."

    def _lost(self, test: AxisTest) -> str:
        """Return an axis with the condition in which most is lost (or gained) against the baseline, and p."""
        sign = 1 if test.excess < 0 else -1
        cells = [(one, self.cells[test.configuration, one].to_baseline) for one in self.axes[test.axis]]
        condition, pair = max(
            ((one, pair) for one, pair in cells if pair),
            key=lambda item: sign * (item[1].lost - item[1].gained),
        )
        return (
            f"{condition.label} ({pair.lost} of {pair.pairs:,} episodes lost, {pair.gained} gained, "
            f"{p_text(test.p_holm)})"
        )


def robustness(
    manifest: Mapping[str, Any], records: Sequence[EpisodeRecord], baseline: str
) -> Robustness | None:
    """Return what a sweep shows; None if the run has no task both plain and perturbed along a single axis.

    Args:
        manifest: the run's; its tasks say by what they are perturbed, and from which they are.
        records: one record per trial.
        baseline: the name of the variant that the others are compared with.
    """
    if not is_swept(manifest):
        return None
    places = _places(manifest)
    conditions = list(dict.fromkeys(condition for condition, _ in places.values()))
    order = list(AXES)
    conditions.sort(
        key=lambda one: (one != PLAIN, order.index(axis_of(one.axis)) if one.axis else -1, one.axis)
    )
    names = list(dict.fromkeys(record.configuration for record in records))
    success = _success(records, places, names, conditions)
    reference = names.index(baseline) if baseline in names else None
    cells = {
        (name, condition): cell
        for row, name in enumerate(names)
        for column, condition in enumerate(conditions)
        if (cell := _cell(success, row, column, reference)) is not None
    }
    tests = []
    if reference is not None:
        axes = dict.fromkeys(condition.axis for condition in conditions[1:])
        for row, name in enumerate(names):
            for axis in axes if row != reference else ():
                columns = [index for index, one in enumerate(conditions) if one.axis == axis]
                scores = _scores(success, row, reference, columns)
                if len(scores):
                    mean = float(scores.mean()) / len(columns)
                    tests.append(AxisTest(name, axis, len(scores), mean, interaction_test(scores)))
    adjusted = holm([one.p_value for one in tests])
    judged = tuple(replace(one, p_holm=p) for one, p in zip(tests, adjusted, strict=True))
    return Robustness(baseline, tuple(names), tuple(conditions), cells, judged)


def is_swept(manifest: Mapping[str, Any]) -> bool:
    """Return whether a run's manifest has tasks both plain and perturbed along a single axis."""
    conditions = {condition for condition, _ in _places(manifest).values()}
    return PLAIN in conditions and len(conditions) > 1


def _places(manifest: Mapping[str, Any]) -> dict[int, tuple[Condition, int]]:
    """Return the condition and the plain task of each task by its id; not of those perturbed along several axes."""
    found = {}
    for entry in manifest.get("tasks") or ():
        if not isinstance(entry, Mapping) or not isinstance(number := entry.get("id"), int):
            continue
        perturbation = entry.get("perturbation") or []
        plain = entry.get("seeded_as", number)
        if not perturbation:
            found[number] = PLAIN, plain
        elif len(perturbation) == 1 and axis_of(str(perturbation[0][0])) in AXES:
            found[number] = Condition(str(perturbation[0][0]), float(perturbation[0][1])), plain
    return found


def _success(
    records: Sequence[EpisodeRecord],
    places: Mapping[int, tuple[Condition, int]],
    names: Sequence[str],
    conditions: Sequence[Condition],
) -> np.ndarray:
    """Return success, 1 or 0, and NaN without a result: (variants, conditions, episodes)."""
    rows = {name: index for index, name in enumerate(names)}
    columns = {condition: index for index, condition in enumerate(conditions)}
    episodes: dict[tuple[int, int, int], int] = {}
    at, values = [], []
    for record in records:
        if record.task_id not in places or record.status == ERROR:
            continue
        condition, plain = places[record.task_id]
        # All of a run's seeds are the same; another one would be another episode.
        episode = episodes.setdefault((plain, record.episode, record.seed), len(episodes))
        at.append((rows[record.configuration], columns[condition], episode))
        values.append(record.success)
    success = np.full((len(names), len(conditions), len(episodes)), np.nan)
    if at:
        success[tuple(np.array(at).T)] = values
    return success


def _cell(success: np.ndarray, row: int, column: int, reference: int | None) -> Cell | None:
    mine = success[row, column]
    there = ~np.isnan(mine)
    if not there.any():
        return None
    p_value = None
    if column and reference is not None and row != reference:
        scores = _scores(success, row, reference, [column])
        p_value = interaction_test(scores) if len(scores) else None
    return Cell(
        episodes=int(there.sum()),
        successes=int(mine[there].sum()),
        to_plain=_paired(mine, success[row, 0]) if column else None,
        to_baseline=_paired(mine, success[reference, column]) if reference not in (None, row) else None,
        p_value=p_value,
    )


def _paired(one: np.ndarray, other: np.ndarray) -> Paired | None:
    there = ~(np.isnan(one) | np.isnan(other))
    if not there.any():
        return None
    ours, theirs = one[there] > 0, other[there] > 0
    counts = (ours & theirs, ours & ~theirs, ~ours & theirs, ~ours & ~theirs)
    return compare_counts(*(int(count.sum()) for count in counts))


def _scores(success: np.ndarray, row: int, reference: int, columns: Sequence[int]) -> np.ndarray:
    """Return ``excess`` of the episodes with all results."""
    both = success[[reference, row]]
    chosen = both[:, [0, *columns]]
    whole = chosen[:, :, ~np.isnan(chosen).any(axis=(0, 1))]
    return excess(whole[:, 0], whole[:, 1:].transpose(1, 0, 2))
