"""The page's section of graded tasks: success against difficulty, a drawing per family."""

from collections.abc import Sequence

import numpy as np

from headless_eval.report.charts import COLOURS
from headless_eval.report.page.drawings import AXIS, swatch
from headless_eval.report.page.markup import Markup, percent, tag
from headless_eval.report.page.table import scrolling, table
from headless_eval.report.psychometric import Curve, families_of, say_shift, say_threshold

_HEIGHT = 200
_ROOM = (0.14, 0.97)
"""The part of a drawing's width that the levels take."""

_POINTS = 60


def curves_section(curves: Sequence[Curve], baseline: str) -> Markup | None:
    """Return a heading, and of each family a drawing with sentences; None without graded tasks.

    Args:
        curves: of a run.
        baseline: the name of the variant that the others are compared with.
    """
    if not curves:
        return None
    families = families_of(curves)
    rate = f"{100 * curves[0].fit.grid.performance:g} %"
    note = (
        "Points: observed shares, larger for more episodes. Lines: logistic curves in the logarithm of the level, with "
        f"lapses of at most 10 %. Threshold: the level at which {rate} succeed, the posterior's median with its "
        "central 95 %. Differences of thresholds are over the same episodes."
    )
    return tag(
        "section",
        tag("h2", "Success by difficulty", id="difficulty"),
        *(_family(family, of, baseline) for family, of in families.items()),
        tag("p", note, class_="note"),
        aria_labelledby="difficulty",
    )


def _family(family: str, curves: Sequence[Curve], baseline: str) -> Markup:
    sentences = [
        tag(
            "li",
            say_shift(one, baseline),
            class_=("worse" if one.worse else "better") if one.differs else None,
        )
        for one in curves
    ]
    names = [tag("li", swatch(_colour(index)), one.configuration) for index, one in enumerate(curves)]
    scale = curves[0].scale
    heads = ["Precision", *(f"{level:g} {scale.unit}" for level in scale.levels), "Threshold"]
    rows: list[tuple[str, list[tuple[str, str | None]]]] = []
    for one in curves:
        shares = [
            f"{wins}/{trials}" if trials else "–"
            for wins, trials in zip(one.successes, one.episodes, strict=True)
        ]
        rows.append((one.configuration, [(cell, "number") for cell in (*shares, say_threshold(one))]))
    return tag(
        "figure",
        tag("h3", family),
        tag("ul", *names, class_="legend"),
        _drawing(family, curves),
        tag("ul", *sentences, class_="shifts"),
        tag(
            "details",
            tag("summary", "Successes of episodes"),
            scrolling(table("summary", heads, rows), family),
        ),
    )


def _colour(index: int) -> str:
    return f"c{index % COLOURS}"


def _drawing(family: str, curves: Sequence[Curve]) -> Markup:
    grid, scale = curves[0].fit.grid, curves[0].scale
    easy, hard = float(grid.eases.max()), float(grid.eases.min())

    def x(ease: float) -> float:
        """Easy levels lie at the left."""
        low, high = _ROOM
        return low + (high - low) * (easy - ease) / (easy - hard)

    def y(share: float) -> float:
        return 6 + (_HEIGHT - 12) * (1 - share)

    lines = [
        mark
        for share in (0, 0.25, 0.5, 0.75, 1)
        for mark in (
            tag("line", x1=percent(_ROOM[0]), x2=percent(_ROOM[1]), y1=y(share), y2=y(share), class_="grid"),
            tag("text", f"{100 * share:.0f} %", x=0, y=y(share) + 4),
        )
    ]
    rate = grid.performance
    lines.append(
        tag("line", x1=percent(_ROOM[0]), x2=percent(_ROOM[1]), y1=y(rate), y2=y(rate), class_="reference")
    )
    labels = [
        tag(
            "text",
            f"{level:g} {scale.unit}",
            x=percent(x(scale.ease(level))),
            y=_HEIGHT + 15,
            text_anchor="end" if scale.ease(level) == hard else "middle",
        )
        for level in scale.levels
    ]
    eases = np.linspace(easy, hard, _POINTS)
    paths, points = [], []
    for index, one in enumerate(curves):
        corners = [
            f"{1000 * x(ease):.1f},{y(share):.1f}"
            for ease, share in zip(eases.tolist(), one.fit.success(eases).tolist(), strict=True)
        ]
        paths.append(tag("polyline", points=" ".join(corners), class_=_colour(index)))
        for level, wins, trials in zip(scale.levels, one.successes, one.episodes, strict=True):
            if trials:
                title = tag("title", f"{one.configuration}, {level:g} {scale.unit}: {wins}/{trials}")
                place = {
                    "cx": percent(x(scale.ease(level))),
                    "cy": y(wins / trials),
                    "r": 2 + min(4.0, trials**0.5 / 2),
                }
                points.append(tag("circle", title, class_=_colour(index), **place))
    stretched = {"viewBox": f"0 0 1000 {_HEIGHT}", "preserveAspectRatio": "none"}
    said = " ".join(f"{one.configuration}: {say_threshold(one)}." for one in curves)
    return tag(
        "svg",
        *lines,
        tag("svg", *paths, width="100%", height=_HEIGHT, class_="curves", **stretched),
        *points,
        *labels,
        role="img",
        height=_HEIGHT + AXIS,
        class_="chart",
        aria_label=f"{family}, success rate by level. Thresholds: {said}",
    )
