"""The plots of the three commands."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headless_eval.report.plots import COLOURS, FAINT, INK, save_figure

if TYPE_CHECKING:  # matplotlib takes a second to import
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from headless_eval.performance.bench.measure import Row
    from headless_eval.performance.profile.measure import Profile
    from headless_eval.performance.sensitivity.measure import Damage

_DPI = 200


def latency_figure(path: Path, title: str, chip: str, rows: Sequence[Row]) -> None:
    """Draw a bar for each row's median with its 5th to 95th percentile, and a mark at its limit."""
    figure, axes = _new(7.5, 1.2 + 0.24 * len(rows))
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


def profile_figure(path: Path, title: str, profiles: Sequence[Profile]) -> None:
    """Draw the time of the components, or kinds of kernels, and the errors of outputs from layer to layer."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.2), dpi=_DPI, layout="constrained")
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
    _head(left, title, f"time by component, engine {profiles[0].ran}")
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
    _head(axes, "", f"relative error of the outputs against float32: {name}")


def sensitivity_figure(path: Path, title: str, damages: Sequence[Damage]) -> None:
    """Draw, for each precision, the error of each component, and a heat map of components by layers."""
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    from headless_eval.performance.sensitivity.measure import AND

    shown = [one for one in damages if one.error and AND not in one.component]
    precisions = list(dict.fromkeys(one.precision for one in shown))
    low, high = min(one.error or 1.0 for one in shown), max(one.error or 0.0 for one in shown)
    figure = Figure(figsize=(10, 0.6 + 3.4 * len(precisions)), dpi=_DPI, layout="constrained")
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
        _head(left, title if precision == precisions[0] else "", f"{precision}, a component alone")
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
        _head(right, "", f"{precision}, one component in one layer alone: relative error of the actions")
    save_figure(figure, path)
