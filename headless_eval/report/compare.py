"""Comparison of runs: success, other outcomes, paired differences, and the step at which trajectories diverge.

The runs are of one suite and may differ in simulator, checkpoint or version; variants of one run may be compared, too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, islice
from statistics import median

import numpy as np

from headless_eval.errors import UserError
from headless_eval.report.comparison import Comparison, compare_episodes
from headless_eval.report.outcomes import OutcomeChange, Values, changes, judged_together
from headless_eval.report.sides import Side
from headless_eval.report.statistics import Interval, holm, wilson_interval
from headless_eval.results import ERROR, EpisodeRecord, Readable
from headless_eval.results.differences import Difference, differences
from headless_eval.results.pairing import pair

APART = 0.05
"""A visible difference in an entry of an action: 3 degrees of a joint, a twentieth of the gripper's range."""


@dataclass(frozen=True)
class Rate:
    """Success on one side.

    Args:
        successes: episodes that succeeded.
        episodes: episodes that ended in success or failure.
        errors: episodes that broke.
        rate: successes / episodes, None without episodes.
        interval: Wilson's 95 % interval of the rate, None without episodes.
    """

    successes: int
    episodes: int
    errors: int
    rate: float | None
    interval: Interval | None


@dataclass(frozen=True)
class Divergence:
    """Divergence of the executed actions of paired episodes.

    Args:
        pairs: number of pairs whose actions both runs kept.
        identical: number of pairs with the same actions from the first to the last.
        first_step: median over the other pairs of the first step whose actions differ; None without such pairs.
        first_replan: median of that step's replan; None if the runs' open-loop horizons differ.
        close: number of pairs that never differ by more than ``APART`` and have the same number of steps.
        apart_step: median over the other pairs of the first step whose actions differ by more than ``APART``; None
            without such pairs.
        largest: the largest difference of an action's entry over all pairs; None without pairs.
    """

    pairs: int
    identical: int
    first_step: float | None
    first_replan: float | None
    close: int
    apart_step: float | None
    largest: float | None


@dataclass(frozen=True)
class ComparedRow:
    """Two sides on one task, or on all tasks (``task`` is None).

    Args:
        configuration: the variant's name; of different variants both, ``float32 → int4_both``.
        task: the task's key.
        a: success of the first side.
        b: success of the second.
        comparison: the second against the first, over the same episodes that ended without an error in both, or,
            without any, over those that may be the same; None without either. ``p_holm`` is given for all tasks
            together: corrected over all comparisons that are made.
        divergence: the divergence of their trajectories.
        unpaired: episodes of the same task and number that are not the same: seed or initial state differ.
    """

    configuration: str
    task: str | None
    a: Rate
    b: Rate
    comparison: Comparison | None
    divergence: Divergence
    unpaired: int = 0


@dataclass(frozen=True)
class ComparedPair:
    """Comparison of two sides: a row per task and variant that both have, and the differences of the manifests.

    Args:
        a: the first side.
        b: the second.
        rows: successes and trajectories.
        outcomes: the other outcomes of each variant, over all tasks: those of ``b`` compared with those of ``a``.
        differences: those of the manifests.
    """

    a: Side
    b: Side
    rows: tuple[ComparedRow, ...]
    outcomes: tuple[OutcomeChange, ...]
    differences: tuple[Difference, ...]


def compare_two(first: Readable, second: Readable) -> ComparedPair:
    """Compare two runs of one suite.

    Raises:
        UserError: the suites differ, or the runs share no variant and task.
    """
    sides = [Side(label, run, tuple(run.records())) for label, run in (("A", first), ("B", second))]
    return compare_sides(sides)[0]


def compare_sides(sides: Sequence[Side], *, with_first: bool = False) -> list[ComparedPair]:
    """Compare each side with each, p-values corrected over all comparisons.

    Args:
        sides: two or more, all of them runs or all of them variants.
        with_first: compare the others with the first side only.

    Raises:
        UserError: the suites differ, or no two sides share a variant and a task.
    """
    first = sides[0].run
    for run in (side.run for side in sides[1:]):
        if run.manifest["suite"] != first.manifest["suite"]:
            raise UserError(
                f"{first.path} ran the suite {first.manifest['suite']}, {run.path} {run.manifest['suite']}: nothing "
                "compares"
            )
    pairs = [(sides[0], side) for side in sides[1:]] if with_first else combinations(sides, 2)
    found = [_compare(one, other) for one, other in pairs]
    if not any(pair.rows for pair in found):
        names = ", ".join(map(str, sides[:-1]))
        what = "task" if sides[0].variant else "precision and task"
        raise UserError(f"{names} and {sides[-1]} share no {what}: nothing compares")
    return _judged_together(found)


def overall(rows: Sequence[ComparedRow]) -> list[ComparedRow]:
    """Return of each variant the row of all its tasks together, or of its only task."""
    return list({row.configuration: row for row in rows}.values())


def _judged_together(pairs: Sequence[ComparedPair]) -> list[ComparedPair]:
    """Complete the comparisons over all tasks, which are one family of hypotheses, by Holm's correction."""
    family = {
        id(row): row.comparison.p_value for pair in pairs for row in overall(pair.rows) if row.comparison
    }
    adjusted = dict(zip(family, holm(list(family.values())), strict=True))

    def judged(row: ComparedRow) -> ComparedRow:
        if row.comparison is None or id(row) not in adjusted:
            return row
        return replace(row, comparison=replace(row.comparison, p_holm=adjusted[id(row)]))

    outcomes = iter(judged_together([one for pair in pairs for one in pair.outcomes]))
    return [
        replace(
            pair, rows=tuple(map(judged, pair.rows)), outcomes=tuple(islice(outcomes, len(pair.outcomes)))
        )
        for pair in pairs
    ]


_Cells = Mapping[tuple[str, str], list[EpisodeRecord]]


def _compare(one: Side, other: Side) -> ComparedPair:
    both = None
    if one.variant is not None and other.variant is not None:
        both = one.variant if one.variant == other.variant else f"{one.variant} → {other.variant}"
    left, right = _cells(one.records, both), _cells(other.records, both)
    shared = [cell for cell in left if cell in right]
    horizons = _horizon(one.run), _horizon(other.run)
    horizon = horizons[0] if horizons[0] == horizons[1] else None
    rows = []
    outcomes: list[OutcomeChange] = []
    values = Values([*one.records, *other.records], one.run.manifest)
    for configuration in dict.fromkeys(configuration for configuration, _ in shared):
        tasks = [task for name, task in shared if name == configuration]
        for wanted in [[task] for task in tasks] + ([tasks] if len(tasks) > 1 else []):
            ours = [record for task in wanted for record in left[configuration, task]]
            theirs = [record for task in wanted for record in right[configuration, task]]
            pairs = pair(theirs, ours)
            actions = [(one.run.actions(a), other.run.actions(b)) for b, a in pairs.matched]
            row = ComparedRow(
                configuration,
                wanted[0] if len(wanted) == 1 else None,
                rate(ours),
                rate(theirs),
                compare_episodes(pairs),
                _divergence(actions, horizon),
                len(pairs.unmatched),
            )
            rows.append(row)
        # The last were those of all tasks.
        outcomes += changes(configuration, pairs.matched, values)
    return ComparedPair(
        one, other, tuple(rows), tuple(outcomes), tuple(differences(one.run.manifest, other.run.manifest))
    )


def _cells(records: Sequence[EpisodeRecord], name: str | None) -> _Cells:
    """Return records by variant and task; all under one name instead of the variant's, if there is one."""
    cells: dict[tuple[str, str], list[EpisodeRecord]] = {}
    for record in records:
        cells.setdefault((name or record.configuration, record.task_key), []).append(record)
    return cells


def rate(records: Sequence[EpisodeRecord]) -> Rate:
    """Return the success of some records."""
    ended = [record for record in records if record.status != ERROR]
    successes, episodes = sum(record.success for record in ended), len(ended)
    return Rate(
        successes,
        episodes,
        len(records) - episodes,
        successes / episodes if episodes else None,
        wilson_interval(successes, episodes) if episodes else None,
    )


def _divergence(
    pairs: Sequence[tuple[np.ndarray | None, np.ndarray | None]], horizon: int | None
) -> Divergence:
    kept, largest = 0, 0.0
    first: list[int] = []
    apart: list[int] = []
    for one, other in pairs:
        if one is None or other is None or one.shape[1] != other.shape[1]:
            continue
        kept += 1
        length = min(len(one), len(other))
        difference = np.abs(one[:length].astype(np.float64) - other[:length]).max(axis=1)
        largest = max(largest, float(difference.max(initial=0.0)))
        for steps, limit in ((first, 0.0), (apart, APART)):
            if (difference > limit).any():
                steps.append(int((difference > limit).argmax()))
            elif len(one) != len(other):
                steps.append(length)
    return Divergence(
        kept,
        kept - len(first),
        float(median(first)) if first else None,
        float(median(step // horizon for step in first)) if first and horizon else None,
        kept - len(apart),
        float(median(apart)) if apart else None,
        largest if kept else None,
    )


def _horizon(run: Readable) -> int | None:
    settings = run.manifest.get("settings")
    horizon = settings.get("open_loop_horizon") if isinstance(settings, Mapping) else None
    return horizon if type(horizon) is int and horizon > 0 else None
