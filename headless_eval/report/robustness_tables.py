"""What a sweep shows, as a table for the terminal and as a CSV file; and each episode's perturbation as another."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.text import Text

from headless_eval.report.csv_file import write_rows
from headless_eval.report.robustness import PLAIN, Cell, Robustness
from headless_eval.report.tables import format_points
from headless_eval.results.record import EpisodeRecord
from headless_eval.shared.terminal import Listing
from headless_eval.sims.perturbation import neutral

COLUMNS = (
    *("configuration", "axis", "level", "episodes", "successes", "rate"),
    *("pairs_plain", "lost_to_plain", "gained_to_plain", "difference_to_plain"),
    *("pairs_baseline", "lost_to_baseline", "gained_to_baseline", "difference_to_baseline"),
    *("difference_low", "difference_high", "p_interaction", "axis_excess", "axis_p", "axis_p_holm"),
)
"""The columns of ``robustness.csv``."""

EPISODE_COLUMNS = ("configuration", "task_key", "episode", "seed", "status", "reason", "steps", "instruction")
"""The first columns of ``perturbations.csv``; after them the axes' levels and the drawn numbers."""

_LEVEL = "level "


def robustness_listing(found: Robustness) -> Listing:
    """Return a table with a row per condition and a column per variant."""
    header = ["condition", *found.configurations]
    rows: list[list[str | Text]] = []
    sections, axis = [], ""
    decided = {(one.configuration, one.axis): one.decided for one in found.tests}
    for condition in found.conditions:
        if condition.axis != axis:
            sections.append(len(rows))
            axis = condition.axis
        cells = [found.cells.get((name, condition)) for name in found.configurations]
        styles = [
            {"worse": "red", "better": "green"}.get(decided.get((name, axis)) or "", "")
            for name in header[1:]
        ]
        rows.append(
            [condition.label, *(Text(_shown(cell), style) for cell, style in zip(cells, styles, strict=True))]
        )
    compared = [name for name in found.configurations if name != found.baseline]
    note = " ".join(f"{name} {sentence}" for name, (_, sentence) in found.sentences().items())
    return Listing(
        header,
        rows,
        title="Success under perturbations",
        legend={
            name: f"In brackets points to {found.baseline} under the same condition; coloured: the axis costs the "
            "precision more (or less) than it, p after Holm."
            for name in compared[:1]
        },
        note=note,
        sections=sections if len(rows) > len(sections) + 1 else (),  # between single rows a gap tells nothing
    )


def _shown(cell: Cell | None) -> str:
    if cell is None:
        return "–"
    rate = f"{cell.successes}/{cell.episodes}"
    return rate if cell.to_baseline is None else f"{rate} ({format_points(cell.to_baseline.difference)})"


def write_robustness(path: Path, found: Robustness) -> None:
    """Write ``robustness.csv``: a row per variant and condition, and the test of its axis."""
    tests = {(one.configuration, one.axis): one for one in found.tests}
    rows = []
    for (name, condition), cell in found.cells.items():
        plain, other, test = cell.to_plain, cell.to_baseline, tests.get((name, condition.axis))
        values: list[Any] = [
            *(name, condition.axis or PLAIN.label, f"{condition.size:g}"),
            *(cell.episodes, cell.successes, cell.successes / cell.episodes),
        ]
        for pair in (plain, other):
            values += [None] * 4 if pair is None else [pair.pairs, pair.lost, pair.gained, pair.difference]
        values += [None, None] if other is None else list(other.interval)
        values.append(cell.p_value)
        values += [None] * 3 if test is None else [test.excess, test.p_value, test.p_holm]
        rows.append(values)
    write_rows(path, COLUMNS, rows)


def write_perturbations(path: Path, manifest: Mapping[str, Any], records: Sequence[EpisodeRecord]) -> None:
    """Write ``perturbations.csv``: a row per episode with what it was perturbed by, beside its result.

    Nothing is written for a run without perturbed tasks.
    """
    tasks = {
        entry["id"]: {f"{_LEVEL}{name}": size for name, size in entry["perturbation"]}
        for entry in manifest.get("tasks") or ()
        if isinstance(entry, Mapping) and entry.get("perturbation")
    }
    if not tasks:
        return
    levels = sorted({name for perturbation in tasks.values() for name in perturbation})
    drawn = sorted({name for record in records for name in record.perturbation or ()})
    rows = []
    for record in records:
        own, numbers = tasks.get(record.task_id, {}), record.perturbation or {}
        row = [getattr(record, name) for name in EPISODE_COLUMNS]
        row += [own.get(name, neutral(name.removeprefix(_LEVEL))) for name in levels]
        rows.append([*row, *(numbers.get(name) for name in drawn)])
    write_rows(path, [*EPISODE_COLUMNS, *levels, *drawn], rows)
