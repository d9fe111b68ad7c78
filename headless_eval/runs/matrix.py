"""A matrix of runs: one for each combination of settings, each in a folder of its own, and a summary of all."""

import csv
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.text import Text

from headless_eval.config.run import RunConfig
from headless_eval.config.stored import run_settings, to_table
from headless_eval.errors import UserError
from headless_eval.report import summarize_run
from headless_eval.results import RunDirectory, default_folder
from headless_eval.runs.resume import MATRIX, is_matrix, settings_of
from headless_eval.runs.run import run
from headless_eval.shared.consent import distrust, texts_in
from headless_eval.shared.files import is_name, replacing
from headless_eval.shared.program import command
from headless_eval.shared.terminal import Listing, new_console
from headless_eval.shared.text import spreadsheet_cell
from headless_eval.shared.untrusted import read_json

SUMMARY = "summary.csv"
_COLUMNS = (
    "successes",
    "episodes",
    "errors",
    "success_rate",
    "interval_low",
    "interval_high",
    "difference",
    "p_value",
)


@dataclass(frozen=True)
class Cell:
    """One run of a matrix.

    Args:
        label: the name of its folder in the matrix's.
        axes: the settings that differ between the runs.
        config: the settings of the run.
    """

    label: str
    axes: dict[str, Any]
    config: RunConfig


def run_matrix(cells: Sequence[Cell]) -> int:
    """Carry out the runs of a matrix, one after another, in one new folder.

    Args:
        cells: the runs; ``results`` of the first is the matrix's folder, by default ``results/<date>_<time>``.

    Returns:
        The exit status: the worst of the runs'; an interrupted run ends the matrix.

    Raises:
        UserError: the folder holds a run or a matrix, or a run cannot start.
    """
    first = cells[0].config
    folder = default_folder() if first.results is None else first.results
    if is_matrix(folder):
        raise UserError(
            f"{folder} already holds a matrix of runs: choose another folder, or continue it with --resume"
        )
    RunDirectory.check(folder)
    folder.mkdir(parents=True, exist_ok=True)
    entries = [{"label": cell.label, "axes": cell.axes, "settings": to_table(cell.config)} for cell in cells]
    with replacing(folder / MATRIX) as file:
        json.dump({"command": sys.argv, "runs": entries}, file, indent=2)
    return _carry_out(folder, cells)


def resume_matrix(folder: Path, change: Callable[[RunConfig], RunConfig]) -> int:
    """Continue the runs of a matrix, and begin those that are not there.

    Args:
        folder: of the matrix.
        change: returns a run's settings with what the command line gives now.

    Returns:
        The exit status, as of ``run_matrix``.

    Raises:
        UserError: the matrix's file is damaged, or a run cannot be continued.
    """
    cells = []
    try:
        entries = read_json(folder / MATRIX)["runs"]
        for entry in entries:
            if not is_name(entry["label"]):
                raise ValueError(f"the label {entry['label']!r} is not the name of a folder")
            there = (folder / entry["label"] / "manifest.json").is_file()
            distrust(texts_in(entry["settings"]), folder)
            kept = settings_of(folder / entry["label"]) if there else run_settings(entry["settings"])
            cells.append(Cell(entry["label"], entry["axes"], change(kept)))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder / MATRIX} is damaged: {error}") from None
    return _carry_out(folder, cells)


def _carry_out(folder: Path, cells: Sequence[Cell]) -> int:
    config = cells[0].config
    console = new_console(quiet=config.quiet or config.log_json)
    worst = 0
    for number, cell in enumerate(cells, start=1):
        console.print(Text(f"Run {number} of {len(cells)}: {cell.label}", "bold"))
        path = folder / cell.label
        there = (path / "manifest.json").is_file()
        ready = replace(
            cell.config,
            results=None if there else path,
            resume=path if there else None,
            force=cell.config.force and there,
        )
        try:
            status = run(ready)
        except UserError as error:
            raise UserError(f"{cell.label}: {error}") from error
        worst = max(worst, status)
        if status == 130:
            print(f"headless-eval: go on with: {command('run', '--resume', folder)}", file=sys.stderr)
            break
    rows = [
        row
        for cell in cells
        if (folder / cell.label / "manifest.json").is_file()
        for row in _rows(folder, cell)
    ]
    with replacing(folder / SUMMARY) as file:
        table = csv.DictWriter(file, [*cells[0].axes, "variant", *_COLUMNS, "folder"], lineterminator="\n")
        table.writeheader()
        table.writerows({name: spreadsheet_cell(value) for name, value in row.items()} for row in rows)
    console.print(
        Listing((*cells[0].axes, "variant", "success", "rate %", "difference"), list(map(_shown, rows)), 2)
    )
    if not config.log_json:
        print(folder)
    return worst


def _rows(folder: Path, cell: Cell) -> list[dict[str, Any]]:
    """Return the summary's row of each variant of a run."""
    summary = summarize_run(RunDirectory.open(folder / cell.label))
    found = []
    for row in summary.overall:
        values: dict[str, Any] = {"successes": row.successes, "episodes": row.episodes, "errors": row.errors}
        if row.interval is not None:
            values |= {"success_rate": row.rate}
            values |= {"interval_low": row.interval.low, "interval_high": row.interval.high}
        if row.comparison is not None:
            values |= {"difference": row.comparison.difference, "p_value": row.comparison.p_value}
        axes = {name: _text(value) for name, value in cell.axes.items()}
        found.append({**axes, "variant": row.configuration, **values, "folder": cell.label})
    return found


def _shown(row: dict[str, Any]) -> list[str]:
    axes = [str(value) for value in list(row.values())[: list(row).index("variant")]]
    rates = "–"
    if "success_rate" in row:
        rate, low, high = (100 * row[name] for name in ("success_rate", "interval_low", "interval_high"))
        rates = f"{rate:.0f} [{low:.0f}, {high:.0f}]"
    difference = row.get("difference")
    return [
        *axes,
        row["variant"],
        f"{row['successes']}/{row['episodes']}",
        rates,
        "" if difference is None else f"{100 * difference:+.0f}",
    ]


def _text(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
