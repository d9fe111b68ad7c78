"""Figures and titles shared by the plots of measurements."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headless_eval.report.plots import FAINT

if TYPE_CHECKING:  # matplotlib takes a second to import
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 200


def new_figure(width: float, height: float) -> tuple[Figure, Axes]:
    """Return a figure of this size in inches, whose axes have no frame at the top and on the right."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    for spine in ("top", "right"):
        axes.spines[spine].set_visible(False)
    axes.tick_params(labelsize=7)
    return figure, axes


def add_heading(axes: Axes, title: str, note: str) -> None:
    """Write a title, and below it a note in smaller letters."""
    axes.set_title(title, loc="left", fontsize=10, fontweight="bold", pad=18)
    axes.annotate(note, (0, 1), (0, 6), "axes fraction", "offset points", fontsize=7.5, color=FAINT)
