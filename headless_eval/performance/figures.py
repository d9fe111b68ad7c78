"""The plots of the three commands."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from headless_eval.report.plots import COLOURS, FAINT, INK, save_figure

if TYPE_CHECKING:  # matplotlib takes a second to import
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from headless_eval.performance.bench import Row

_DPI = 200


def latency_figure(path: Path, title: str, chip: str, rows: Sequence[Row]) -> None:
    """Draw a bar for each row's median with its 5th to 95th percentile, and a mark at its limit."""
    height = 1.2 + 0.24 * len(rows)
    figure, axes = _new(7.5, height)
    labels = [
        f"{row.compute} · {row.precision}{' native' if row.execution == 'native' else ''} · {row.computed_by} · "
        f"batch {row.batch} · {row.views} views"
        for row in rows
    ]
    engines = sorted({row.ran or "" for row in rows})
    for index, row in enumerate(rows):
        median, low, high = row.median_ms or 0.0, row.p5_ms or 0.0, row.p95_ms or 0.0
        axes.barh(index, median, 0.7, color=COLOURS[engines.index(row.ran or "")])
        axes.plot([low, high], [index, index], color=INK, linewidth=1)
        axes.plot([row.limit_ms or 0.0], [index], "|", color=INK, markersize=9, markeredgewidth=1.6)
        axes.annotate(
            f"{median:.3g} ms", (max(median, high), index), (3, 0), textcoords="offset points", va="center",
            fontsize=7, color=INK,
        )  # fmt: skip
    axes.set_yticks(range(len(rows)), labels, fontsize=7)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlabel(
        "milliseconds an inference, median; line: 5th to 95th percentile; bar mark: the chip's limit",
        fontsize=7,
    )
    _head(axes, title, chip)
    save_figure(figure, path)


def _new(width: float, height: float) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=_DPI, layout="constrained")
    axes = figure.add_subplot()
    for spine in ("top", "right"):
        axes.spines[spine].set_visible(False)
    axes.tick_params(labelsize=7)
    return figure, axes


def _head(axes: Axes, title: str, note: str) -> None:
    axes.set_title(title, loc="left", fontsize=10, fontweight="bold", pad=18)
    axes.annotate(note, (0, 1), (0, 6), "axes fraction", "offset points", fontsize=7.5, color=FAINT)
