"""Data of a run's four charts: success by variant, for each mode and overall; drawn by the page and by plots."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from headless_eval.contracts.variant import DEFAULT_BASELINE
from headless_eval.report.summary import Row, Summary

MODES = {
    "weights_only": "Weights only",
    "activations_only": "Activations only",
    "both": "Weights and activations",
}
COLOURS = 8
"""The number of colours of a chart."""

_MAX_NAME = 28


@dataclass(frozen=True)
class Series:
    """Bars of one colour: label, number of the colour (None: the baseline's), and a row (or None) per group."""

    label: str
    colour: int | None
    rows: Sequence[Row | None]


@dataclass(frozen=True)
class Chart:
    """Groups of bars.

    Args:
        name: the part of the file name after ``success_rate_``.
        title: the chart's heading.
        labels: the labels of the groups.
        series: the bars, each with its Wilson interval.
        points: per group the rows of single tasks, if one bar stands for all tasks; else empty.
        reference: the baseline's rate over all tasks, if it ran.
        baseline: the baseline's name.
        missing: why there is nothing beside the baseline; empty if there is.
    """

    name: str
    title: str
    labels: Sequence[str]
    series: Sequence[Series]
    points: Sequence[Sequence[Row]] = field(default=())
    reference: float | None = None
    baseline: str = DEFAULT_BASELINE
    missing: str = ""

    def group(self, index: int) -> list[tuple[Series, Row]]:
        """Return the bars of a group that exist: a mode that did not run for a dtype leaves no hole."""
        return [(one, row) for one in self.series if (row := one.rows[index]) is not None]

    @property
    def note(self) -> str:
        """The caption, in one line."""
        note = f"{self.missing} " if self.missing else ""
        note += "Bars: rate and 95 % Wilson interval"
        note += "; points: single tasks" if self.points else ""
        errors = sum(row.errors for one in self.series for row in one.rows if row is not None)
        return note + (f"; not counted: {errors} with errors" if errors else "")

    @property
    def counts(self) -> str:
        """The number of episodes of a bar."""
        counts = {row.episodes for one in self.series for row in one.rows if row and row.episodes} or {0}
        low, high = min(counts), max(counts)
        return f"{high} episodes per bar" if low == high else f"{low}–{high} episodes per bar"


def charts(summary: Summary) -> dict[str, Chart | str]:
    """Return the four charts by name; instead of a chart without any bar, the reason as text.

    The chart of a mode that did not run has the baseline alone, and says so. Where no precision is recorded, there is
    the overall chart alone.
    """
    modes = MODES if any(row.dtype for row in summary.rows) or not summary.rows else ()
    return {mode: _mode_chart(summary, mode) for mode in modes} | {"overall": _overall_chart(summary)}


def _mode_chart(summary: Summary, mode: str) -> Chart | str:
    """Groups: the quantized variants of one mode after the baseline; bars: tasks."""
    baseline, others = _baseline_and_others(summary)
    found = [row for row in others if row.quantized and row.mode == mode]
    missing = "" if found else f"{MODES[mode]}: no precision ran in this mode."
    groups = baseline + found
    if not groups:
        return missing
    per_task = {(row.configuration, row.task): row for row in summary.rows}
    points: list[list[Row]] = []
    if 1 < len(summary.tasks) <= COLOURS:
        long = any(len(name) > _MAX_NAME for name in summary.tasks.values())
        series = [
            Series(
                key if long else name, index, [per_task.get((group.configuration, key)) for group in groups]
            )
            for index, (key, name) in enumerate(summary.tasks.items())
        ]
    else:  # too many tasks for separate bars: one bar for all tasks, and a point per task
        series = [Series("All tasks", 0, groups)]
        if len(summary.tasks) > 1:
            points = [
                [row for key in summary.tasks if (row := per_task.get((group.configuration, key)))]
                for group in groups
            ]
    labels = [_label(group, mode) for group in groups]
    reference = _reference(summary)
    return Chart(mode, MODES[mode], labels, series, points, reference, summary.baseline, missing)


def _overall_chart(summary: Summary) -> Chart | str:
    """Groups: dtypes; bars: modes, all tasks together."""
    if not summary.overall:
        return "No episode has run."
    baseline, others = _baseline_and_others(summary)
    labels = list(dict.fromkeys(_label(row, row.mode) for row in others))
    series = [Series("", None, [*baseline, *[None] * len(labels)])] if baseline else []
    unrounded = "Unquantized" if any(row.dtype for row in others) else "Others"
    for index, (mode, name) in enumerate({**MODES, "": unrounded}.items()):
        rows = {_label(row, mode): row for row in others if (row.mode if row.quantized else "") == mode}
        if rows:
            gap: list[Row | None] = [None] * len(baseline)
            series.append(Series(name, index, gap + [rows.get(label) for label in labels]))
    labels = [*(_label(row, "") for row in baseline), *labels]
    title = "All modes" if any(row.dtype for row in summary.rows) else "All"
    return Chart("overall", title, labels, series, (), _reference(summary), summary.baseline)


def _baseline_and_others(summary: Summary) -> tuple[list[Row], list[Row]]:
    """Return the baseline's row, if it ran, and those of the other variants."""
    found = [row for row in summary.overall if row.configuration == summary.baseline]
    return found, [row for row in summary.overall if row.configuration != summary.baseline]


def _reference(summary: Summary) -> float | None:
    return next((row.rate for row in _baseline_and_others(summary)[0]), None)


def _label(row: Row, mode: str) -> str:
    """Return a variant's name without its mode."""
    return row.configuration.replace(f"_{mode}", "", 1) if mode else row.configuration
