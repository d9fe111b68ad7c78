"""The four charts of a run: success by precision, for each mode and overall."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from headless_eval.files import replacing
from headless_eval.report.summary import BASELINE, Row, Summary

if TYPE_CHECKING:  # matplotlib takes a second to import, and only the end of a run needs it
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MODES = {
    "weights_only": "Weights only",
    "activations_only": "Activations only",
    "both": "Weights and activations",
}

# Okabe and Ito's palette, told apart with every common colour blindness; purple and grey for its yellow and black.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#7A5195", "#5C5C5C")
_INK, _BASELINE_COLOUR, _FAINT = "#333333", "#9A9A9A", "#7A7A7A"
_REFERENCE = "float32, all tasks"
_DPI = 200
_MAX_NAME = 28


@dataclass(frozen=True)
class _Series:
    """Bars of one colour: a label, and a row (or None) for each group."""

    label: str
    colour: str
    rows: Sequence[Row | None]


def write_plots(folder: Path, summary: Summary) -> None:
    """Write ``success_rate_{weights_only,activations_only,both,overall}.png`` into a folder.

    A mode that did not run gets a small picture that says so.
    """
    for mode in MODES:
        _save(_mode_figure(summary, mode), folder / f"success_rate_{mode}.png")
    _save(_overall_figure(summary), folder / "success_rate_overall.png")


def _mode_figure(summary: Summary, mode: str) -> Figure:
    """Groups: the precisions of one mode after float32; bars: tasks."""
    found = [row for row in summary.overall if row.configuration != BASELINE and row.mode == mode]
    if not found:
        return _empty_figure(f"{MODES[mode]}: no precision ran in this mode.")
    groups = [row for row in summary.overall if row.configuration == BASELINE] + found
    per_task = {(row.configuration, row.task): row for row in summary.rows}
    if 1 < len(summary.tasks) <= len(_COLOURS):
        long = any(len(name) > _MAX_NAME for name in summary.tasks.values())
        series = [
            _Series(
                key if long else name,
                _COLOURS[index],
                [per_task.get((group.configuration, key)) for group in groups],
            )
            for index, (key, name) in enumerate(summary.tasks.items())
        ]
        points: list[list[Row]] = []
    else:  # too many tasks for a bar each: one bar for all, and a point for each
        series = [_Series("All tasks", _COLOURS[0], groups)]
        points = [
            [row for key in summary.tasks if (row := per_task.get((group.configuration, key))) is not None]
            for group in groups
        ]
    labels = [_label(group, mode) for group in groups]
    return _bar_figure(summary, MODES[mode], labels, series, points if len(summary.tasks) > 1 else [])


def _overall_figure(summary: Summary) -> Figure:
    """Groups: dtypes; bars: modes, all tasks together."""
    if not summary.overall:
        return _empty_figure("No episode has run.")
    baseline = [row for row in summary.overall if row.configuration == BASELINE]
    others = [row for row in summary.overall if row.configuration != BASELINE]
    labels = list(dict.fromkeys(_label(row, row.mode) for row in others))
    series = []
    for index, (mode, name) in enumerate(MODES.items()):
        rows = {_label(row, mode): row for row in others if row.mode == mode}
        if rows:
            gap: list[Row | None] = [None] * len(baseline)
            series.append(_Series(name, _COLOURS[index], gap + [rows.get(label) for label in labels]))
    reference = [_Series("", _BASELINE_COLOUR, [*baseline, *[None] * len(labels)])] if baseline else []
    title = "All modes"
    return _bar_figure(
        summary, title, [*(_label(row, "") for row in baseline), *labels], reference + series, []
    )


def _bar_figure(
    summary: Summary, title: str, labels: list[str], series: Sequence[_Series], points: list[list[Row]]
) -> Figure:
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    bars = sum(row is not None for one in series for row in one.rows)
    width = min(14.0, max(5.5, 1.0 + 0.2 * bars + 0.2 * len(labels)))
    figure = Figure(figsize=(width, 3.3), dpi=_DPI, layout="constrained")
    axes = figure.add_subplot()
    for spine in ("top", "right"):
        axes.spines[spine].set_visible(False)
    axes.set_ylim(0, 1.04)
    axes.set_xlim(-0.55, len(labels) - 0.45)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1])
    axes.grid(axis="y", color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_ylabel("Success rate", fontsize=9)
    axes.tick_params(axis="y", labelsize=8)
    axes.tick_params(axis="x", length=0)
    axes.set_xticks(range(len(labels)), labels, fontsize=8)

    _draw_reference(axes, summary)
    for group in range(len(labels)):
        # Bars that exist share the group's width: a mode that did not run for a dtype leaves no hole.
        present = [(one, row) for one in series if (row := one.rows[group]) is not None]
        size = min(0.8 / max(1, len(present)), 0.4)
        for index, (one, row) in enumerate(present):
            _draw_bar(axes, group + (index - (len(present) - 1) / 2) * size, size, one.colour, row)
    for group, rows in enumerate(points):
        rates = sorted(row.rate for row in rows if row.rate is not None)
        spread = [group - 0.12 + 0.24 * (index + 0.5) / len(rates) for index in range(len(rates))]
        axes.plot(spread, rates, ".", color=_FAINT, markersize=3, alpha=0.8, zorder=4)

    heading = f"{title} — {summary.suite}, {_episodes(series)}"
    axes.set_title(heading, loc="left", fontsize=10, fontweight="bold", pad=18)
    note = "Bars: rate and 95 % Wilson interval"
    note += "; points: single tasks" if points else ""
    errors = sum(row.errors for one in series for row in one.rows if row is not None)
    note += f"; not counted: {errors} with errors" if errors else ""
    axes.annotate(note, (0, 1), (0, 6), "axes fraction", "offset points", fontsize=7.5, color=_FAINT)
    _draw_legend(figure, axes, series)
    return figure


def _draw_reference(axes: Axes, summary: Summary) -> None:
    rates = [row.rate for row in summary.overall if row.configuration == BASELINE]
    if rates and rates[0] is not None:
        axes.axhline(
            rates[0], color=_INK, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1, label="float32, all tasks"
        )


def _draw_bar(axes: Axes, x: float, width: float, colour: str, row: Row) -> None:
    if row.rate is None or row.interval is None:
        axes.text(x, 0.01, "error", rotation=90, ha="center", va="bottom", fontsize=7, color=_FAINT)
        return
    axes.bar(x, row.rate, 0.9 * width, color=colour, zorder=2)
    # A rate of zero has no bar: a thin foot shows that it was measured.
    axes.bar(x, 0.008, 0.9 * width, color=colour, zorder=2)
    reach = [[row.rate - row.interval.low], [row.interval.high - row.rate]]
    axes.errorbar(
        x,
        row.rate,
        [[max(0.0, side[0])] for side in reach],
        color=_INK,
        elinewidth=0.8,
        capsize=1.8,
        capthick=0.8,
        zorder=3,
    )


def _draw_legend(figure: Figure, axes: Axes, series: Sequence[_Series]) -> None:
    from matplotlib.patches import Patch

    handles: list = [Patch(color=one.colour, label=one.label) for one in series if one.label]
    handles += [line for line in axes.get_lines() if line.get_label() == _REFERENCE]
    # matplotlib does not wrap legends; a letter is about 0.058 inches wide, a handle with its space 0.42.
    widths = [0.42 + 0.058 * len(str(handle.get_label())) for handle in handles]
    room = figure.get_figwidth()
    columns = len(handles) if sum(widths) < room else max(1, math.floor(room / max(widths)))
    figure.set_figheight(figure.get_figheight() + 0.18 * (math.ceil(len(handles) / columns) - 1))
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        fontsize=8,
        handlelength=1.4,
    )


def _empty_figure(message: str) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5, 1.2), dpi=_DPI)
    figure.text(0.5, 0.5, message, ha="center", va="center", fontsize=9, color=_FAINT)
    return figure


def _label(row: Row, mode: str) -> str:
    """Return a configuration's name without its mode, broken into lines (``float8_e4m3`` -> two)."""
    name = row.configuration.replace(f"_{mode}", "", 1) if mode else row.configuration
    return name.replace("_", "\n", 1)


def _episodes(series: Sequence[_Series]) -> str:
    counts = {row.episodes for one in series for row in one.rows if row is not None and row.episodes} or {0}
    low, high = min(counts), max(counts)
    return f"{high} episodes per bar" if low == high else f"{low}–{high} episodes per bar"


def _save(figure: Figure, path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)  # needs no display and leaves pyplot's state alone
    with replacing(path, "wb") as file:
        figure.savefig(file, format="png", metadata={"Software": None})
