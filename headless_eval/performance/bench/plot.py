"""The plot of bench: a bar for each case."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from headless_eval.performance.plotting import add_heading, new_figure
from headless_eval.report.plots import COLOURS, INK, save_figure

if TYPE_CHECKING:  # matplotlib takes a second to import
    from headless_eval.performance.bench.measure import Row


def latency_figure(path: Path, title: str, chip: str, rows: Sequence[Row]) -> None:
    """Draw for each row a bar of the median with the 5th and 95th percentiles, and a mark at the chip's limit."""
    figure, axes = new_figure(7.5, 1.2 + 0.24 * len(rows))
    named = [
        (
            row.compute,
            ("as it is" if row.precision == "float32" else row.precision)
            + (" native" if row.execution == "native" else ""),
            row.computed_by,
            f"batch {row.batch}",
            f"{row.views} views",
        )
        for row in rows
    ]
    told = [index for index, parts in enumerate(zip(*named, strict=True)) if len(set(parts)) > 1]
    labels = [" · ".join(parts[index] for index in told or (1,)) for parts in named]
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
    add_heading(axes, title, chip)
    save_figure(figure, path)
