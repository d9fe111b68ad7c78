"""The plot of sensitivity: errors by component, and by layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from headless_eval.performance.plotting import DPI, add_heading
from headless_eval.report.plots import COLOURS, save_figure

if TYPE_CHECKING:  # matplotlib takes a second to import
    from headless_eval.performance.sensitivity.measure import PartEffect


def sensitivity_figure(path: Path, title: str, effects: Sequence[PartEffect]) -> None:
    """Draw for each precision the error of each component, and a heat map of components by layers."""
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    from headless_eval.performance.sensitivity.measure import AND

    shown = [one for one in effects if one.error and AND not in one.component]
    precisions = list(dict.fromkeys(one.precision for one in shown))
    low, high = min(one.error or 1.0 for one in shown), max(one.error or 0.0 for one in shown)
    figure = Figure(figsize=(10, 0.6 + 3.4 * len(precisions)), dpi=DPI, layout="constrained")
    panels = figure.subplots(len(precisions), 2, squeeze=False)
    for (left, right), precision in zip(panels, precisions, strict=True):
        of = [one for one in shown if one.precision == precision]
        whole = sorted((one for one in of if one.layer is None), key=lambda one: -(one.error or 0.0))
        left.barh(range(len(whole)), [one.error or 0.0 for one in whole], 0.7, color=COLOURS[0])
        left.set_yticks(range(len(whole)), [one.component for one in whole])
        left.invert_yaxis()
        left.set_xscale("log")
        left.set_xlabel("relative error of the actions", fontsize=7)
        left.tick_params(labelsize=7)
        for spine in ("top", "right"):
            left.spines[spine].set_visible(False)
        add_heading(left, title if precision == precisions[0] else "", f"{precision}, a component alone")
        single = [one for one in of if one.layer is not None]
        if not single:
            right.set_axis_off()
            continue
        names = list(dict.fromkeys(one.component for one in single))
        layers = 1 + max(one.layer or 0 for one in single)
        values = [[math.nan] * layers for _ in names]
        for one in single:
            values[names.index(one.component)][one.layer or 0] = one.error or math.nan
        image = right.imshow(values, norm=LogNorm(low, high * 1.0001), cmap="viridis", aspect="auto")
        right.set_yticks(range(len(names)), names)
        right.set_xlabel("layer", fontsize=7)
        right.tick_params(labelsize=7)
        right.xaxis.get_major_locator().set_params(integer=True)
        bar = figure.colorbar(image, ax=right)
        bar.ax.tick_params(labelsize=7, which="both")
        add_heading(
            right, "", f"{precision}, one component in one layer alone: relative error of the actions"
        )
    save_figure(figure, path)
