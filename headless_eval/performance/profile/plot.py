"""The plot of profile: time by component, and errors from layer to layer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headless_eval.performance.plotting import DPI, add_heading
from headless_eval.report.plots import COLOURS, FAINT, save_figure

if TYPE_CHECKING:  # matplotlib takes a second to import
    from matplotlib.axes import Axes

    from headless_eval.performance.profile.measure import Profile


def profile_figure(path: Path, title: str, profiles: Sequence[Profile]) -> None:
    """Draw the time of the components, or kinds of kernels, and the errors of outputs from layer to layer."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.2), dpi=DPI, layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes in (left, right):
        for spine in ("top", "right"):
            axes.spines[spine].set_visible(False)
        axes.tick_params(labelsize=7)
    times = [_times_of(one) for one in profiles]
    names = list(dict.fromkeys(name for one in times for name in one))
    names.sort(key=lambda name: -times[0].get(name, 0.0))
    height = 0.8 / len(times)
    for index, (one, of) in enumerate(zip(times, profiles, strict=True)):
        places = [place + index * height for place in range(len(names))]
        label = f"{of.case.precision.name}: {of.times.median:.3g} ms"
        left.barh(places, [one.get(name, 0.0) for name in names], height, color=COLOURS[index], label=label)
    left.set_yticks([place + 0.4 - height / 2 for place in range(len(names))], names)
    left.invert_yaxis()
    left.set_xlabel("milliseconds an inference", fontsize=7)
    left.legend(fontsize=7, frameon=False, loc="lower right")
    add_heading(left, title, f"time by component, engine {profiles[0].ran}")
    _draw_errors(right, profiles[0])
    save_figure(figure, path)


def _times_of(profile: Profile) -> dict[str, float]:
    from headless_eval.performance.profile.measure import by_kind

    found = {row.component: row.ms for row in profile.components if row.ms}
    return found | by_kind(profile.kernels)


def _draw_errors(axes: Axes, profile: Profile) -> None:
    """Draw the mean output error of each component's modules in each layer."""
    errors: dict[str, dict[int, list[float]]] = {}
    for row in profile.modules:
        if row.layer is not None and row.activation_error:
            errors.setdefault(row.component, {}).setdefault(row.layer, []).append(row.activation_error)
    name = profile.case.precision.name
    if not errors:
        axes.set_axis_off()
        axes.text(0.5, 0.5, f"{name}: no error", ha="center", fontsize=9, color=FAINT)
        return
    for index, (component, layers) in enumerate(errors.items()):
        numbers = sorted(layers)
        means = [sum(layers[number]) / len(layers[number]) for number in numbers]
        style = ("-", "--", ":")[index % 3]
        marks: dict[str, Any] = {"linewidth": 1.2, "marker": ".", "markersize": 4}
        axes.plot(numbers, means, style, color=COLOURS[index // 3], label=component, **marks)
    axes.set_yscale("log")
    axes.set_xlabel("layer", fontsize=7)
    axes.legend(fontsize=6.5, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    add_heading(axes, "", f"relative error of the outputs against float32: {name}")
