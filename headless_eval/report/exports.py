"""Results of a run as CSV and JSON files, each replaced atomically."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from headless_eval.report.csv_file import write_rows
from headless_eval.report.outcome_tables import COLUMNS as OUTCOME_COLUMNS
from headless_eval.report.outcome_tables import outcome_rows
from headless_eval.report.summary import Row, Summary
from headless_eval.results.record import OPTIONAL, EpisodeRecord
from headless_eval.shared.files import replacing

COLUMNS = (
    *("task_id", "task_name", "episode_idx", "success", "steps", "max_steps"),
    *("configuration", "dtype", "mode", "scope", "task_key", "instruction", "status", "seed", "replans"),
    *("actions_sha256", "initial_state_sha256", "video", "reason", "phase", "error_type", "error_message"),
)
"""The CSV's columns that are the same when a run is repeated."""

TIMING_COLUMNS = ("sim_s", "render_s", "infer_s", "total_s", "started_at")
"""The last columns, which differ from run to run; before them ``more_columns``."""


def write_csv(path: Path, records: Sequence[EpisodeRecord]) -> None:
    """Write ``<suite>_results.csv``: a header and a line per trial."""
    columns = (*COLUMNS, *more_columns(records), *TIMING_COLUMNS)
    write_rows(path, columns, (_row(record, columns) for record in records))


def _row(record: EpisodeRecord, columns: Sequence[str]) -> list[Any]:
    fields = _fields(record) | more_fields(record)
    error = fields.pop("error") or {}
    fields["error_type"] = error.get("type")
    fields["error_message"] = " ".join(error.get("message", "").split())
    return [fields.get(name) for name in columns]


def more_columns(records: Iterable[EpisodeRecord]) -> list[str]:
    """Return the columns that these records' variants and metrics add: ``setting_<name>``, then ``metric_<name>``."""
    found = dict.fromkeys(name for record in records for name in more_fields(record))
    return sorted(found, key=lambda name: not name.startswith("setting_"))


def more_fields(record: EpisodeRecord) -> dict[str, str | float]:
    """Return the settings of a record's variant beside its precision, and its metrics, by column."""
    fields: dict[str, str | float] = {
        f"setting_{name}": str(value) for name, value in (record.variant or {}).items()
    }
    return fields | {f"metric_{name}": value for name, value in (record.metrics or {}).items()}


def write_suite_json(
    path: Path, records: Sequence[EpisodeRecord], summary: Summary, manifest: Mapping[str, Any]
) -> None:
    """Write ``<suite>_results.json``: totals over all variants and the list of results.

    Episodes that ended in an error are in the list, in ``total_errors``, and in no other total.
    """
    head = {
        "task_suite": summary.suite,
        "total_episodes": summary.episodes,
        "total_successes": summary.successes,
        "total_errors": summary.errors,
        "success_rate": summary.successes / summary.episodes if summary.episodes else None,
        "seed": manifest.get("seed"),
        "headless": manifest.get("headless", True),
    }
    with replacing(path) as file:
        # One result per line: easy to read and compare, and the whole text is never in memory.
        file.write(json.dumps(head, indent=2, ensure_ascii=False).removesuffix("\n}"))
        file.write(',\n  "results": [')
        for index, record in enumerate(records):
            file.write(",\n    " if index else "\n    ")
            more = {name: value for name in OPTIONAL if (value := getattr(record, name)) is not None}
            file.write(json.dumps(_fields(record) | more, ensure_ascii=False))
        file.write("\n  ]\n}\n")


def write_rates_json(path: Path, summary: Summary) -> None:
    """Write ``results.json``: per variant the rate of each task, and the mean of those rates.

    A rate is None if every episode of the task was an error; the mean is over the tasks that have a rate.
    """
    content: dict[str, dict[str, Any]] = {}
    for configuration in summary.configurations:
        rows = [row for row in summary.rows if row.configuration == configuration and row.task is not None]
        rates = [row.rate for row in rows if row.rate is not None]
        content[configuration] = {str(row.task): _rate(row) for row in rows}
        content[configuration]["avg_success_rate"] = sum(rates) / len(rates) if rates else None
    with replacing(path) as file:
        json.dump(content, file, indent=2, ensure_ascii=False)
        file.write("\n")


def write_outcomes_csv(path: Path, summary: Summary) -> None:
    """Write ``outcomes.csv``: a header, and a line per variant and outcome with its change from the baseline."""
    rows = outcome_rows(summary.outcomes)
    write_rows(path, OUTCOME_COLUMNS, ([row[name] for name in OUTCOME_COLUMNS] for row in rows))


def _rate(row: Row) -> dict[str, Any]:
    return {
        "success_rate": row.rate,
        "successful_episodes": row.successes,
        "total_episodes": row.episodes,
        "errors": row.errors,
    }


def _fields(record: EpisodeRecord) -> dict[str, Any]:
    """Return a record's fields under the names of the results files; a model without rounding has no mode."""
    fields = record.to_dict()
    if not record.quantized:
        fields["mode"] = None
    fields["episode_idx"] = fields.pop("episode")
    return {name: fields[name] for name in COLUMNS + TIMING_COLUMNS if name in fields} | {
        "error": fields["error"]
    }
