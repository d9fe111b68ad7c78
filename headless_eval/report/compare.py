"""Comparison of two runs: success rates, paired differences, and the step at which trajectories diverge.

The runs are of one suite and may differ in simulator, checkpoint or version.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import numpy as np

from headless_eval.config.results import CompareConfig
from headless_eval.errors import UserError
from headless_eval.report.statistics import Interval, wilson_interval
from headless_eval.report.summary import Comparison, compare, explain_scopes
from headless_eval.report.tables import format_p, format_points
from headless_eval.results import ERROR, EpisodeRecord, RunDirectory
from headless_eval.results.differences import Difference, differences
from headless_eval.shared.terminal import Listing, new_console

APART = 0.05
"""A visible difference in an entry of an action: 3 degrees of a joint, a twentieth of the gripper's range."""

_SHOWN_DIFFERENCES = 12


@dataclass(frozen=True)
class Rate:
    """Success in one run.

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
    """Two runs of one variant on one task, or on all tasks (``task`` is None).

    Args:
        configuration: the variant's name.
        task: the task's key.
        a: success in the first run.
        b: success in the second.
        paired: the second against the first, over the episodes that ended without an error in both and have the
            same seed; None without such episodes.
        divergence: the divergence of their trajectories.
    """

    configuration: str
    task: str | None
    a: Rate
    b: Rate
    paired: Comparison | None
    divergence: Divergence


@dataclass(frozen=True)
class ComparedRuns:
    """Comparison of two runs: a row per task and variant that both have, and the differences of the manifests."""

    rows: tuple[ComparedRow, ...]
    differences: tuple[Difference, ...]


def compare_two(first: RunDirectory, second: RunDirectory) -> ComparedRuns:
    """Compare two runs of one suite.

    Raises:
        UserError: the suites differ, or the runs share no variant and task.
    """
    suites = first.manifest["suite"], second.manifest["suite"]
    if suites[0] != suites[1]:
        raise UserError(
            f"{first.path} ran the suite {suites[0]}, {second.path} {suites[1]}: nothing compares"
        )
    left, right = _cells(first.records()), _cells(second.records())
    shared = [cell for cell in left if cell in right]
    if not shared:
        raise UserError(f"{first.path} and {second.path} share no precision and task: nothing compares")
    horizons = _horizon(first), _horizon(second)
    horizon = horizons[0] if horizons[0] == horizons[1] else None
    rows = []
    for configuration in dict.fromkeys(configuration for configuration, _ in shared):
        tasks = [task for name, task in shared if name == configuration]
        for wanted in ([task] for task in tasks):
            rows.append(_row(configuration, wanted, wanted[0], left, right, first, second, horizon))
        if len(tasks) > 1:
            rows.append(_row(configuration, tasks, None, left, right, first, second, horizon))
    return ComparedRuns(tuple(rows), tuple(differences(first.manifest, second.manifest)))


def print_comparison(settings: CompareConfig) -> int:
    """Compare the runs in two folders and print a table or JSON; return the exit status, 0.

    Raises:
        UserError: a folder holds no run, the suites differ, or the runs share no variant and task.
    """
    first, second = RunDirectory.open(settings.run_a), RunDirectory.open(settings.run_b)
    found = compare_two(first, second)
    if settings.json:
        print(json.dumps(_as_json(first, second, found), indent=2))
        return 0
    console = new_console()
    console.print(f"A  {first.path}: {_what(first)}", highlight=False, soft_wrap=True)
    console.print(f"B  {second.path}: {_what(second)}", highlight=False, soft_wrap=True)
    console.print(_rates(found))
    if any(row.divergence.pairs for row in found.rows):
        console.print(_divergences(found))
    else:
        console.print(
            "No episode with the same seed ended without an error in both: there are no actions to compare.",
            highlight=False,
            soft_wrap=True,
        )
    shown = {row.configuration for row in found.rows}
    scopes = {one.configuration: one.scope for one in first.records() if one.configuration in shown}
    if scoped := explain_scopes(scopes):
        console.print(scoped, highlight=False, markup=False, soft_wrap=True)
    if found.differences:
        console.print("What differs between A (then) and B (now):", highlight=False)
    for difference in found.differences[:_SHOWN_DIFFERENCES]:
        console.print(f"  {difference}", highlight=False, soft_wrap=True)
    if len(found.differences) > _SHOWN_DIFFERENCES:
        console.print(f"  and {len(found.differences) - _SHOWN_DIFFERENCES} more (--json lists them)")
    return 0


_Cells = Mapping[tuple[str, str], list[EpisodeRecord]]


def _cells(records: Sequence[EpisodeRecord]) -> _Cells:
    cells: dict[tuple[str, str], list[EpisodeRecord]] = {}
    for record in records:
        cells.setdefault((record.configuration, record.task_key), []).append(record)
    return cells


def _row(
    configuration: str,
    tasks: Sequence[str],
    name: str | None,
    left: _Cells,
    right: _Cells,
    first: RunDirectory,
    second: RunDirectory,
    horizon: int | None,
) -> ComparedRow:
    ours = [record for task in tasks for record in left[configuration, task]]
    theirs = [record for task in tasks for record in right[configuration, task]]
    by_trial = {record.trial: record for record in theirs if record.status != ERROR}
    pairs = [
        (record, by_trial[record.trial])
        for record in ours
        if record.status != ERROR and record.trial in by_trial and by_trial[record.trial].seed == record.seed
    ]
    return ComparedRow(
        configuration,
        name,
        _rate(ours),
        _rate(theirs),
        compare([b for _, b in pairs], [a for a, _ in pairs]),
        _divergence([(first.actions(a), second.actions(b)) for a, b in pairs], horizon),
    )


def _rate(records: Sequence[EpisodeRecord]) -> Rate:
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


def _horizon(run: RunDirectory) -> int | None:
    settings = run.manifest.get("settings")
    horizon = settings.get("open_loop_horizon") if isinstance(settings, Mapping) else None
    return horizon if isinstance(horizon, int) and horizon > 0 else None


def _what(run: RunDirectory) -> str:
    """Return a description of a run in a few words."""
    manifest = run.manifest
    simulator, policy = manifest.get("simulator") or {}, manifest.get("policy") or {}
    words = [str(policy.get("name", "?")), "in", str(simulator.get("simulator", "?"))]
    if simulator.get("physics"):
        words.append(f"({simulator['physics']}, drawn by {simulator.get('renderer')})")
    return " ".join([*words, f"on {policy.get('device', '?')}, seed {manifest.get('seed')}"])


def _rates(found: ComparedRuns) -> Listing:
    return _listing(
        found.rows,
        {
            "A": "Successes of episodes, in brackets 95 % intervals after Wilson in percent.",
            "B": "",
            "B − A": "B − A: over the episodes with the same seed, percentage points, 95 % interval after Newcombe.",
            "p": "p: McNemar's exact test.",
        },
        lambda row: [_shown_rate(row.a), _shown_rate(row.b), *_shown_difference(row.paired)],
    )


def _divergences(found: ComparedRuns) -> Listing:
    return _listing(
        found.rows,
        {
            "same": "Executed actions of the same episodes. Same: to the last bit.",
            "first replan": "First replan: that of the first action that differs, median over the others.",
            "close": f"Close: never by more than {APART:g} in an entry.",
            "apart at": "Apart at: the first step with more, median over the others.",
            "at most": "At most: the largest difference.",
        },
        lambda row: _shown_divergence(row.divergence),
    )


def _listing(
    rows: Sequence[ComparedRow], legend: Mapping[str, str], cells: Callable[[ComparedRow], Sequence[str]]
) -> Listing:
    """Return a table in which a precision, with all its tasks together if they are several, is above its tasks."""
    header = ["precision, task", *legend]
    shown: list[list[str]] = []
    sections = []
    for configuration in dict.fromkeys(row.configuration for row in rows):
        of = {row.task: row for row in rows if row.configuration == configuration}
        whole = of.pop(None, None)
        sections.append(len(shown))
        shown.append([configuration, *(cells(whole) if whole else [""] * len(legend))])
        shown += [[f"  {task}", *cells(row)] for task, row in of.items()]
    return Listing(header, shown, legend=legend, sections=sections[1:])


def _shown_rate(rate: Rate) -> str:
    if rate.interval is None:
        return "–" + (f", {rate.errors} errors" if rate.errors else "")
    low, high = rate.interval
    errors = f", {rate.errors} errors" if rate.errors else ""
    return f"{rate.successes}/{rate.episodes} [{100 * low:.0f}, {100 * high:.0f}]{errors}"


def _shown_difference(paired: Comparison | None) -> tuple[str, str]:
    if paired is None:
        return "no pair", ""
    low, high = paired.interval
    return (
        f"{format_points(paired.difference)} [{format_points(low)}, {format_points(high)}]",
        format_p(paired.p_value),
    )


def _shown_divergence(divergence: Divergence) -> tuple[str, ...]:
    if not divergence.pairs:
        return ("–",) * 5
    replan = "–" if divergence.first_replan is None else f"{divergence.first_replan:g}"
    step = "–" if divergence.apart_step is None else f"step {divergence.apart_step:g}"
    return (
        f"{divergence.identical}/{divergence.pairs}",
        replan,
        f"{divergence.close}/{divergence.pairs}",
        step,
        f"{divergence.largest:.2g}",
    )


def _as_json(first: RunDirectory, second: RunDirectory, found: ComparedRuns) -> dict[str, Any]:
    return {
        "a": str(first.path),
        "b": str(second.path),
        "suite": first.manifest["suite"],
        "rows": [_jsonable(asdict(row)) for row in found.rows],
        "differences": [
            {"section": one.section, "name": one.name, "a": one.then, "b": one.now}
            for one in found.differences
        ],
    }


def _jsonable(value: Any) -> Any:
    """Return a value with all tuples (intervals) within it as lists."""
    if isinstance(value, dict):
        return {key: _jsonable(entry) for key, entry in value.items() if key not in ("p_holm", "detectable")}
    return list(value) if isinstance(value, tuple) else value
