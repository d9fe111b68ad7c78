"""Runs as pandas data frames: episodes, summary, actions. pandas takes half a second to import: only on first use."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from headless_eval.contracts.robots import ROBOTS
from headless_eval.errors import UserError
from headless_eval.report.comparison import Paired
from headless_eval.report.exports import more_columns, more_fields
from headless_eval.report.outcome_tables import COLUMNS as OUTCOME_COLUMNS
from headless_eval.report.outcome_tables import outcome_rows
from headless_eval.report.summary import Summary
from headless_eval.results import EpisodeRecord
from headless_eval.results.record import ERROR, FIELDS
from headless_eval.sims.registry import find_suite

if TYPE_CHECKING:
    from pandas import DataFrame

COLUMNS = (
    *(name for name in FIELDS if name not in ("error", "actions", "metrics", "variant")),
    *("error_type", "error_message", "error_traceback"),
)
"""The columns that every table of episodes has; ``more_columns`` of variants and metrics follow."""

_INTEGERS = ("task_id", "episode", "steps", "max_steps", "seed", "replans")
_FLOATS = ("sim_s", "render_s", "infer_s", "total_s")

ALL_TASKS = "all"
"""In the column ``task`` of a summary: all tasks together."""

SUMMARY_COLUMNS = (
    *("configuration", "dtype", "mode", "task", "episodes", "successes", "errors"),
    *("rate", "rate_low", "rate_high", "pairs", "unpaired", "gained", "lost"),
    *("difference", "difference_low", "difference_high", "p", "p_mid", "p_holm", "detectable"),
)
"""The columns of ``summary_frame``."""


def table_of(records: Sequence[EpisodeRecord]) -> DataFrame:
    """Return a row per record with the journal's values; a value that the record lacks is None.

    ``success`` is False for errors, as in the journal; ``mode`` is None for a variant that does not round.
    """
    from pandas import DataFrame

    columns = (*COLUMNS, *more_columns(records))
    rows = [[fields.get(name) for name in columns] for fields in map(_fields, records)]
    return DataFrame(rows, columns=list(columns), dtype=object)


def typed(table: DataFrame) -> DataFrame:
    """Return a table of ``table_of`` whose columns have the types of their values: numbers, truth values, text."""
    metrics = [name for name in table.columns if name.startswith("metric_")]
    kinds: dict[str, Any] = dict.fromkeys((*_FLOATS, *metrics), "float64")
    for name in _INTEGERS:  # what other evaluators do not record is missing
        kinds[name] = "Int64" if table[name].isna().any() else "int64"
    kinds["success"] = "bool"
    table = table.astype(kinds)
    text = [name for name in table.columns if name not in kinds]
    return table.astype(dict.fromkeys(text, "string"))


def episodes_frame(records: Sequence[EpisodeRecord]) -> DataFrame:
    """Return a row per record for analysis.

    ``success`` is missing for an error, so that a mean over it is the success rate of the episodes that say something
    about the policy; ``started_at`` is a time in UTC, and missing where the record states none.
    """
    import pandas

    frame = typed(table_of(records))
    frame["success"] = frame["success"].astype("boolean").mask(frame["status"] == ERROR)
    frame["started_at"] = pandas.to_datetime(frame["started_at"], utc=True, format="ISO8601", errors="coerce")
    return frame


def summary_frame(summary: Summary) -> DataFrame:
    """Return a row per variant and task, and one per variant for all tasks (``task`` is ``ALL_TASKS``).

    Rates and differences are shares of 1 with their 95 % intervals; ``p_holm`` and ``detectable`` are given for all
    tasks together only. Without episodes, or without a baseline to compare with, values are missing.
    """
    from pandas import DataFrame

    rows = []
    for row in summary.rows:
        one = row.comparison
        pairs = one if isinstance(one, Paired) else None
        low, high = row.interval or (None, None)
        less, more = one.interval if one else (None, None)
        rows.append(
            {
                "configuration": row.configuration,
                "dtype": row.dtype,
                "mode": row.mode if row.quantized else None,
                "task": ALL_TASKS if row.task is None else row.task,
                "episodes": row.episodes,
                "successes": row.successes,
                "errors": row.errors,
                "rate": row.rate,
                "rate_low": low,
                "rate_high": high,
                "pairs": pairs.pairs if pairs else 0,
                "unpaired": row.unpaired,
                "gained": pairs.gained if pairs else None,
                "lost": pairs.lost if pairs else None,
                "difference": one.difference if one else None,
                "difference_low": less,
                "difference_high": more,
                "p": one.p_value if one else None,
                "p_mid": pairs.p_mid if pairs else None,
                "p_holm": one.p_holm if one else None,
                "detectable": one.detectable if one else None,
            }
        )
    kinds = dict.fromkeys(("configuration", "dtype", "mode", "task"), "string")
    kinds |= dict.fromkeys(("episodes", "successes", "errors", "pairs", "unpaired"), "int64")
    kinds |= dict.fromkeys(("gained", "lost"), "Int64")
    shares = ("rate", "rate_low", "rate_high", "difference", "difference_low", "difference_high")
    kinds |= dict.fromkeys((*shares, "p", "p_mid", "p_holm", "detectable"), "float64")
    return DataFrame(rows, columns=list(SUMMARY_COLUMNS)).astype(kinds)


def outcomes_frame(summary: Summary) -> DataFrame:
    """Return a row per variant and outcome, compared with the baseline (``outcome_tables.COLUMNS``)."""
    from pandas import DataFrame

    text = ("configuration", "outcome", "unit", "worse", "change_unit")
    kinds: dict[str, Any] = dict.fromkeys(OUTCOME_COLUMNS, "float64") | dict.fromkeys(text, "string")
    kinds |= dict.fromkeys(("episodes", "pairs", "differing"), "int64")
    return DataFrame(outcome_rows(summary.outcomes), columns=list(OUTCOME_COLUMNS)).astype(kinds)


def actions_frame(actions: np.ndarray, suite: str) -> DataFrame:
    """Return executed actions, (steps, dims), as a row per step; columns are named as the suite's robot names them."""
    from pandas import DataFrame, RangeIndex

    names = action_names(suite)
    if len(names) != actions.shape[1]:
        names = [f"action_{index}" for index in range(actions.shape[1])]
    return DataFrame(actions, index=RangeIndex(len(actions), name="step"), columns=names)


def action_names(suite: str) -> list[str]:
    """Return the names of the dimensions of an action of a suite's robot; empty if suite or robot is not installed.

    A name that several groups have, such as that of a joint of two arms, follows its group's.
    """
    with suppress(UserError):
        groups = ROBOTS.find(find_suite(suite).robot).actions
        count = Counter(name for group in groups for name in group.names)
        return [
            f"{group.name}_{name}" if count[name] > 1 else name for group in groups for name in group.names
        ]
    return []


def _fields(record: EpisodeRecord) -> dict[str, Any]:
    fields = record.to_dict() | more_fields(record)
    if not record.quantized:
        fields["mode"] = None
    error = fields.pop("error") or {}
    return fields | {f"error_{name}": error.get(name) for name in ("type", "message", "traceback")}
