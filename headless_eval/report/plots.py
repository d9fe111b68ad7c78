"""The four charts of a run as pictures."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from headless_eval.report.charts import Chart, charts
from headless_eval.report.summary import Row, Summary
from headless_eval.shared.files import replacing

if TYPE_CHECKING:  # matplotlib takes a second to import, and only the end of a run needs it
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette, told apart with every common colour blindness; purple and grey for its yellow and black.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#7A5195", "#5C5C5C")
INK, _BASELINE_COLOUR, FAINT = "#333333", "#9A9A9A", "#7A7A7A"
_DPI = 200


def write_plots(folder: Path, summary: Summary) -> None:
    """Write ``success_rate_{weights_only,activations_only,both,overall}.png`` into a folder.

    A mode that did not run gets a small picture that says so.
    """
    for name, chart in charts(summary).items():
        figure = _empty_figure(chart) if isinstance(chart, str) else _bar_figure(summary.suite, chart)
        save_figure(figure, folder / f"success_rate_{name}.png")


def _bar_figure(suite: str, chart: Chart) -> Figure:
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    # The first part of a name above the rest of it: float8 / e4m3.
    labels = [label.replace("_", "\n", 1) for label in chart.labels]
    bars = sum(row is not None for one in chart.series for row in one.rows)
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

    if chart.reference is not None:
        dashes = (0, (4, 3))
        name = f"{chart.baseline}, all tasks"
        axes.axhline(chart.reference, color=INK, linewidth=0.9, linestyle=dashes, zorder=1, label=name)
    for group in range(len(labels)):
        present = chart.group(group)
        size = min(0.8 / max(1, len(present)), 0.4)
        for index, (series, row) in enumerate(present):
            x = group + (index - (len(present) - 1) / 2) * size
            _draw_bar(axes, x, size, _colour(series.colour), row)
    for group, rows in enumerate(chart.points):
        rates = sorted(row.rate for row in rows if row.rate is not None)
        spread = [group - 0.12 + 0.24 * (index + 0.5) / len(rates) for index in range(len(rates))]
        axes.plot(spread, rates, ".", color=FAINT, markersize=3, alpha=0.8, zorder=4)

    heading = f"{chart.title} — {suite}, {chart.counts}"
    axes.set_title(heading, loc="left", fontsize=10, fontweight="bold", pad=18)
    axes.annotate(chart.note, (0, 1), (0, 6), "axes fraction", "offset points", fontsize=7.5, color=FAINT)
    _draw_legend(figure, axes, chart)
    return figure


def _draw_bar(axes: Axes, x: float, width: float, colour: str, row: Row) -> None:
    if row.rate is None or row.interval is None:
        axes.text(x, 0.01, "error", rotation=90, ha="center", va="bottom", fontsize=7, color=FAINT)
        return
    axes.bar(x, row.rate, 0.9 * width, color=colour, zorder=2)
    # A rate of zero has no bar: a thin foot shows that it was measured.
    axes.bar(x, 0.008, 0.9 * width, color=colour, zorder=2)
    reach = [[row.rate - row.interval.low], [row.interval.high - row.rate]]
    axes.errorbar(
        x,
        row.rate,
        [[max(0.0, side[0])] for side in reach],
        color=INK,
        elinewidth=0.8,
        capsize=1.8,
        capthick=0.8,
        zorder=3,
    )


def _draw_legend(figure: Figure, axes: Axes, chart: Chart) -> None:
    from matplotlib.patches import Patch

    handles: list = [Patch(color=_colour(one.colour), label=one.label) for one in chart.series if one.label]
    handles += [line for line in axes.get_lines() if line.get_label() == f"{chart.baseline}, all tasks"]
    # matplotlib does not wrap legends; a letter is about 0.058 inches wide, a handle with its space 0.42.
    widths = [0.42 + 0.058 * len(str(handle.get_label())) for handle in handles]
    room = figure.get_figwidth()
    if not handles:
        return  # every episode was an error: there is no bar to explain
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
    figure.text(0.5, 0.5, message, ha="center", va="center", fontsize=9, color=FAINT)
    return figure


def _colour(number: int | None) -> str:
    return _BASELINE_COLOUR if number is None else COLOURS[number]


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, whole or not at all."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)  # needs no display and leaves pyplot's state alone
    with replacing(path, "wb") as file:
        figure.savefig(file, format="png", metadata={"Software": None})
