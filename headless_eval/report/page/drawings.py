"""The page's charts as SVG: bars, shares of time, and what other drawings share with them.

Horizontal positions are in percent and everything else in pixels, so that charts fit any width while the text keeps its
size. Colours come from the style sheet, which has a light and a dark theme.
"""

from collections.abc import Mapping, Sequence

from headless_eval.report.charts import Chart
from headless_eval.report.page.markup import Markup, join, percent, tag
from headless_eval.report.summary import Row

_ROOM = 0.86
"""The part of a chart's width that stands for 100 %; the rest is for numbers."""

AXIS = 22
"""The height of a row of tick labels, in pixels."""

_BAR, _GAP, _LABEL, _FOOT = 13, 4, 18, 3


def bar_chart(chart: Chart) -> Markup:
    """Draw groups of horizontal bars with their Wilson intervals."""
    marks: list[Markup | None] = []
    y = 2
    for index, label in enumerate(chart.labels):
        marks.append(tag("text", label, x=0, y=y + 11, class_="label"))
        y += _LABEL
        top = y
        for series, row in chart.group(index):
            marks.append(_bar(y, series.colour, row, f"{label}, {series.label or 'all tasks'}"))
            y += _BAR + _GAP
        if chart.points:
            marks += [_point(row, (top + y - _GAP) / 2) for row in chart.points[index]]
        y += 10
    bottom = y - 6
    back = [_gridline(share, bottom) for share in (0, 0.25, 0.5, 0.75, 1)]
    if chart.reference is not None:
        x = percent(_ROOM * chart.reference)
        back.append(tag("line", x1=x, x2=x, y1=0, y2=bottom, class_="reference"))
    drawing = tag(
        "svg", *back, *marks, role="img", height=bottom + AXIS, class_="chart", aria_label=_describe(chart)
    )
    heading = tag("h3", chart.title, tag("small", chart.counts))
    return tag(
        "figure", heading, _legend(chart), drawing, tag("figcaption", f"{chart.note}."), data_chart=chart.name
    )


def stacked_bar(shares: Mapping[str, float]) -> Markup:
    """Draw parts of a whole, in order; part ``i`` has the class ``c<i>``."""
    total = sum(shares.values()) or 1.0
    marks, start = [], 0.0
    for index, (name, value) in enumerate(shares.items()):
        title = tag("title", f"{name}: {100 * value / total:.1f} %")
        marks.append(
            tag(
                "rect",
                title,
                x=percent(start / total),
                width=percent(value / total),
                height=22,
                class_=f"c{index}",
            )
        )
        start += value
    return tag("svg", *marks, role="img", height=22, class_="stack", aria_label="Where the time went")


def rate_bar(row: Row) -> Markup:
    """Draw a rate with its interval, for a cell of a table."""
    if row.rate is None or row.interval is None:
        return Markup("")
    low, high = row.interval
    return tag(
        "svg",
        tag("rect", width="100%", height=8, y=3, class_="track"),
        tag("rect", width=percent(row.rate), height=8, y=3, class_="fill"),
        tag("line", x1=percent(low), x2=percent(high), y1=7, y2=7, class_="whisker"),
        height=14,
        class_="rate",
        aria_hidden="true",
    )


def swatch(colour: str) -> Markup:
    """Return a small square of a colour's class, for legends."""
    square = tag("rect", width=11, height=11, rx=2, class_=colour)
    return tag("svg", square, width=11, height=11, class_="swatch", aria_hidden="true")


def _bar(y: float, colour: int | None, row: Row, name: str) -> Markup:
    if row.rate is None or row.interval is None:
        return tag("text", "only errors", x=0, y=y + 10)
    low, high = (percent(_ROOM * end) for end in row.interval)
    middle = y + _BAR / 2
    description = f"{name}: {row.successes}/{row.episodes}, {describe_rate(row)}"
    whisker = [tag("line", x1=low, x2=high, y1=middle, y2=middle, class_="whisker")]
    whisker += [
        tag("line", x1=end, x2=end, y1=middle - 3, y2=middle + 3, class_="whisker") for end in (low, high)
    ]
    # A rate of zero has no bar. A foot left of the axis, where it takes no part of the scale, shows its colour.
    extent = {"width": percent(_ROOM * row.rate)} if row.rate else {"x": -_FOOT, "width": _FOOT}
    return tag(
        "g",
        tag("title", description),
        tag("rect", y=y, height=_BAR, class_=_class(colour), **extent),
        *whisker,
        tag("text", f"{100 * row.rate:.0f} %", x="100%", y=y + 10.5, text_anchor="end"),
    )


def _point(row: Row, y: float) -> Markup | None:
    if row.rate is None:
        return None
    title = tag("title", f"{row.task}: {row.successes}/{row.episodes}")
    return tag("circle", title, cx=percent(_ROOM * row.rate), cy=y, r=2.5, class_="point")


def _gridline(share: float, bottom: float) -> Markup:
    x = percent(_ROOM * share)
    anchor = "start" if share == 0 else "middle"
    line = tag("line", x1=x, x2=x, y1=0, y2=bottom, class_="grid")
    return join(line, tag("text", f"{100 * share:.0f} %", x=x, y=bottom + 15, text_anchor=anchor))


def _legend(chart: Chart) -> Markup:
    entries = [tag("li", swatch(_class(one.colour)), one.label) for one in chart.series if one.label]
    if chart.reference is not None:
        line = tag("line", x1=1, x2=18, y1=6, y2=6, class_="reference")
        sample = tag("svg", line, width=19, height=11, class_="swatch", aria_hidden="true")
        entries.append(tag("li", sample, f"{chart.baseline}, all tasks"))
    return tag("ul", *entries, class_="legend")


def _describe(chart: Chart) -> str:
    """Return a description of a chart in words, for screen readers."""
    words = [f"{chart.title}, success rate."]
    for index, label in enumerate(chart.labels):
        rates = [
            f"{series.label} {describe_rate(row)}".strip()
            for series, row in chart.group(index)
            if row.rate is not None
        ]
        words.append(f"{label}: {', '.join(rates) or 'only errors'}.")
    return " ".join(words)


def describe_rate(row: Row) -> str:
    """Return a rate with its 95 % interval in words, in percent."""
    if row.rate is None or row.interval is None:
        return "only errors"
    return f"{100 * row.rate:.0f} % ({100 * row.interval.low:.0f} to {100 * row.interval.high:.0f})"


def _class(colour: int | None) -> str:
    return "base" if colour is None else f"c{colour}"


def legend(names: Sequence[str]) -> Markup:
    """Return a legend of parts: name ``i`` with the class ``c<i>``."""
    return tag(
        "ul", *(tag("li", swatch(f"c{index}"), name) for index, name in enumerate(names)), class_="legend"
    )
