"""The page's plot of paired differences (a forest plot): a row per variant, over one scale.

Names and numbers are text of the page, which wraps on a phone; only the marks are SVG.
"""

import math

from headless_eval.report.comparison import Comparison
from headless_eval.report.page.drawings import AXIS
from headless_eval.report.page.markup import Markup, percent, tag
from headless_eval.report.summary import Summary
from headless_eval.report.tables import format_p, format_points

_HEIGHT = 16


class _Scale:
    """Positions of differences, with ticks at round numbers that include zero."""

    def __init__(self, comparisons: list[Comparison]) -> None:
        ends = [end for one in comparisons for end in (*one.interval, -(one.detectable or 0.0), 0.05)]
        low, high = min(ends), max(ends)
        step = next(step for step in (0.01, 0.02, 0.05, 0.1, 0.2, 0.25, 0.5) if (high - low) / step <= 7)
        self.low = max(-1.0, step * math.floor(low / step))
        self.high = min(1.0, step * math.ceil(high / step))
        first, last = round(self.low / step), round(self.high / step)
        self.ticks = {number: number * step for number in range(first, last + 1)}

    def share(self, extent: float) -> float:
        """Return how much of the width a difference's extent takes."""
        return 0.98 * extent / (self.high - self.low)

    def x(self, difference: float) -> str:
        return percent(0.01 + self.share(difference - self.low))


def forest_plot(summary: Summary) -> Markup | None:
    """Draw each variant's difference from the baseline with its interval; None without comparisons."""
    rows = [(row.configuration, row.comparison) for row in summary.overall if row.comparison]
    if not rows:
        return None
    scale = _Scale([one for _, one in rows])
    grid = [
        tag("line", x1=x, x2=x, y1=0, y2="100%", class_="grid" if number else "zero")
        for number, tick in scale.ticks.items()
        for x in [scale.x(tick)]
    ]
    # Ticks at odd places lose their labels on a phone; zero keeps its own.
    edges = {min(scale.ticks): "start", max(scale.ticks): "end"}
    labels = [
        tag(
            "text",
            format_points(tick),
            x=scale.x(tick),
            y=15,
            text_anchor=edges.get(number, "middle"),
            class_="odd" if number % 2 else None,
        )
        for number, tick in scale.ticks.items()
    ]
    return tag(
        "div",
        tag("svg", *grid, class_="chart scale", aria_hidden="true"),
        *(_row(configuration, one, scale) for configuration, one in rows),
        tag("svg", *labels, height=AXIS, class_="chart", aria_hidden="true"),
        class_="forest",
        role="group",
        aria_label=f"Difference of success to {summary.baseline} in percentage points, with 95 % intervals",
    )


def _row(configuration: str, one: Comparison, scale: _Scale) -> Markup:
    p_value = one.p_value if one.p_holm is None else one.p_holm
    interval = f"{format_points(one.interval.low)} to {format_points(one.interval.high)}"
    numbers = f"{format_points(one.difference)} ({interval}), p {format_p(p_value)}"
    low, high = (scale.x(end) for end in one.interval)
    middle = _HEIGHT // 2
    marks = [
        tag("title", f"{configuration}: {numbers}"),
        tag("line", x1=low, x2=high, y1=middle, y2=middle, class_="whisker"),
        *(tag("line", x1=end, x2=end, y1=middle - 4, y2=middle + 4, class_="whisker") for end in (low, high)),
        tag("circle", cx=scale.x(one.difference), cy=middle, r=5),
    ]
    if one.detectable:
        start, width = max(scale.low, -one.detectable), scale.share(min(one.detectable, -scale.low))
        band = {"x": scale.x(start), "width": percent(width), "y": 1, "height": _HEIGHT - 2}
        marks.insert(0, tag("rect", **band, class_="unseen"))
    return tag(
        "div",
        tag("p", tag("b", configuration), " ", tag("span", numbers)),
        tag("svg", *marks, height=_HEIGHT, class_="chart", aria_hidden="true"),
        class_=one.decided or "undecided",
    )
