"""The curves of graded tasks as a PNG image."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from headless_eval.report.plots import COLOURS, FAINT, save_figure
from headless_eval.report.psychometric import Curve, families_of, say_threshold


def write_curves_plot(path: Path, curves: Sequence[Curve]) -> None:
    """Write an image with a drawing per family: shares, curves, thresholds; hard levels at the right.

    Args:
        path: the file.
        curves: one or more.
    """
    from matplotlib.figure import Figure

    families = families_of(curves)
    figure = Figure(figsize=(6.7, 3.1 * len(families)), dpi=192, layout="constrained")
    for axes, (family, of) in zip(
        figure.subplots(len(families), squeeze=False)[:, 0], families.items(), strict=True
    ):
        grid, scale = of[0].fit.grid, of[0].scale
        eases = np.linspace(float(grid.eases.max()), float(grid.eases.min()), 100)
        for index, one in enumerate(of):
            colour = COLOURS[index % len(COLOURS)]
            trials, wins = np.array(one.episodes), np.array(one.successes)
            seen = trials > 0
            axes.plot(
                -eases,
                one.fit.success(eases),
                color=colour,
                label=f"{one.configuration}: {say_threshold(one)}",
            )
            axes.scatter(-grid.eases[seen], wins[seen] / trials[seen], s=4 + trials[seen], color=colour)
        axes.axhline(grid.performance, color=FAINT, linewidth=0.8, linestyle="--")
        axes.set_xticks(-grid.eases, [f"{level:g}" for level in scale.levels])
        axes.set_ylim(-0.03, 1.03)
        axes.set_title(family)
        axes.set_xlabel(f"{scale.unit}, harder to the right")
        axes.set_ylabel("success")
        axes.legend(fontsize=7)
    save_figure(figure, path)
