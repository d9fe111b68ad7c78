"""The page's charts as SVG: bars, heat map, forest plot, shares of time.

Bars and the forest plot have horizontal positions in percent and everything else in pixels, so that they fit any
width while the text keeps its size. Colours come from the style sheet, which has a light and a dark theme.
"""

import math
from collections.abc import Mapping, Sequence

from headless_eval.report.charts import Chart
from headless_eval.report.page.markup import Markup, join, percent, tag
from headless_eval.report.summary import Row, Summary
from headless_eval.report.tables import format_p, format_points

_ROOM = 0.86
"""The part of a chart's width that stands for 100 %; the rest is for numbers."""

_BAR, _GAP, _LABEL, _AXIS = 13, 4, 18, 22


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
        "svg", *back, *marks, role="img", height=bottom + _AXIS, class_="chart", aria_label=_describe(chart)
    )
    heading = tag("h3", chart.title, tag("small", chart.counts))
    return tag(
        "figure", heading, _legend(chart), drawing, tag("figcaption", f"{chart.note}."), data_chart=chart.name
    )


def heat_map(summary: Summary) -> Markup:
    """Draw a heat map of success by precision (rows) and task (columns); heads of many columns are vertical."""
    tasks = [None, *summary.tasks] if len(summary.tasks) > 1 else [None]
    wide = len(tasks) <= 8
    width, height, label = (88 if wide else 44), 30, 18 + round(7.7 * max(map(len, summary.configurations)))
    head = 24 if wide else 14 + round(6.2 * min(24, max(len(str(task)) for task in tasks)))
    found = {(row.configuration, row.task): row for row in summary.rows}
    marks = []
    for column, task in enumerate(tasks):
        middle = label + (column + 0.5) * width - (8 if task is None else 0)
        place = (
            {"x": middle, "y": head - 8, "text_anchor": "middle"}
            if wide
            else {"transform": f"translate({middle + 4:g} {head - 8}) rotate(-90)"}
        )
        name = "all tasks" if task is None else summary.tasks[task]
        shown = "all" if task is None else task if len(task) <= (12 if wide else 24) else f"{task[:11]}…"
        marks.append(tag("text", tag("title", name), shown, **place))
    for line, configuration in enumerate(summary.configurations):
        y = head + line * height
        marks.append(tag("text", configuration, x=label - 18, y=y + 19, text_anchor="end", class_="label"))
        for column, task in enumerate(tasks):
            row = found.get((configuration, task))
            name = "all tasks" if task is None else summary.tasks[task]
            marks.append(
                _cell(label + column * width, y, width, height, row, f"{configuration}, {name}", task is None)
            )
    size = {"width": label + len(tasks) * width, "height": head + len(summary.configurations) * height}
    drawing = tag(
        "svg",
        *marks,
        **size,
        viewBox=f"0 0 {size['width']} {size['height']}",
        role="img",
        class_="heat",
        aria_label="Success rate in percent by precision and task",
    )
    return tag("div", drawing, class_="scroll", tabindex=0, role="region", aria_label="Heat map")


def forest_plot(summary: Summary) -> Markup | None:
    """Draw each configuration's paired difference from the baseline with its interval; None without comparisons."""
    rows = [(row.configuration, row.comparison) for row in summary.overall if row.comparison]
    if not rows:
        return None
    ends = [end for _, one in rows for end in (*one.interval, -(one.detectable or 0.0), 0.05)]
    low, high = min(ends), max(ends)
    step = next(step for step in (0.01, 0.02, 0.05, 0.1, 0.2, 0.25, 0.5) if (high - low) / step <= 7)
    low, high = max(-1.0, step * math.floor(low / step)), min(1.0, step * math.ceil(high / step))

    def x(difference: float) -> str:
        return percent(0.01 + 0.98 * (difference - low) / (high - low))

    height = 40
    bottom = height * len(rows) + 4
    ticks = [round(low / step) * step + index * step for index in range(round((high - low) / step) + 1)]
    marks = [
        join(
            tag(
                "line", x1=x(tick), x2=x(tick), y1=0, y2=bottom, class_="zero" if abs(tick) < 1e-9 else "grid"
            ),
            tag(
                "text", format_points(tick), x=x(tick), y=bottom + 15, text_anchor=_anchor(index, len(ticks))
            ),
        )
        for index, tick in enumerate(ticks)
    ]
    for index, (configuration, one) in enumerate(rows):
        y = height * index + 27
        p_value = one.p_value if one.p_holm is None else one.p_holm
        interval = f"{format_points(one.interval.low)} to {format_points(one.interval.high)}"
        numbers = f"{format_points(one.difference)} ({interval}), p {format_p(p_value)}"
        marks.append(tag("text", configuration, x=0, y=y - 13, class_="label halo"))
        marks.append(tag("text", numbers, x="100%", y=y - 13, text_anchor="end", class_="halo"))
        if one.detectable:
            share = 0.98 * min(one.detectable, -low) / (high - low)
            marks.append(
                tag(
                    "rect",
                    x=x(max(low, -one.detectable)),
                    y=y - 7,
                    width=percent(share),
                    height=14,
                    class_="unseen",
                )
            )
        marks.append(
            tag(
                "g",
                tag("title", f"{configuration}: {numbers}"),
                tag("line", x1=x(one.interval.low), x2=x(one.interval.high), y1=y, y2=y, class_="whisker"),
                *(
                    tag("line", x1=x(end), x2=x(end), y1=y - 4, y2=y + 4, class_="whisker")
                    for end in one.interval
                ),
                tag("circle", cx=x(one.difference), cy=y, r=5),
                class_=one.decided or "undecided",
            )
        )
    return tag(
        "svg",
        *marks,
        role="img",
        height=bottom + _AXIS,
        class_="chart forest",
        aria_label=f"Difference of success to {summary.baseline} in percentage points, with 95 % intervals",
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
    description = f"{name}: {row.successes}/{row.episodes}, {_range(row)}"
    whisker = [tag("line", x1=low, x2=high, y1=middle, y2=middle, class_="whisker")]
    whisker += [
        tag("line", x1=end, x2=end, y1=middle - 3, y2=middle + 3, class_="whisker") for end in (low, high)
    ]
    # A rate of zero has no bar: a thin line shows that it was measured.
    return tag(
        "g",
        tag("title", description),
        tag("rect", y=y, width=percent(max(_ROOM * row.rate, 0.006)), height=_BAR, class_=_class(colour)),
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
            f"{series.label} {_range(row)}".strip()
            for series, row in chart.group(index)
            if row.rate is not None
        ]
        words.append(f"{label}: {', '.join(rates) or 'only errors'}.")
    return " ".join(words)


def _cell(x: float, y: float, width: float, height: float, row: Row | None, name: str, apart: bool) -> Markup:
    """Draw a rate as a filled rectangle; the column of all tasks stands a little apart."""
    box = {"x": x + (-7 if apart else 1), "y": y + 1, "width": width - 2, "height": height - 2}
    middle = {"x": x + width / 2 - (8 if apart else 0), "y": y + 19, "text_anchor": "middle"}
    if row is None or row.rate is None:
        outcome, shown = ("only errors", "error") if row is not None else ("not run", "–")
        title = tag("title", f"{name}: {outcome}")
        return tag(
            "g", title, tag("rect", **box, rx=3, class_="none"), tag("text", shown, **middle, class_="faint")
        )
    opacity = 0.06 + 0.94 * row.rate
    return tag(
        "g",
        tag("title", f"{name}: {row.successes}/{row.episodes}, {_range(row)}"),
        tag("rect", **box, rx=3, class_="cell", fill_opacity=opacity),
        tag("text", f"{100 * row.rate:.0f}", **middle, class_="strong" if opacity > 0.78 else None),
    )


def _range(row: Row) -> str:
    if row.rate is None or row.interval is None:
        return "only errors"
    return f"{100 * row.rate:.0f} % ({100 * row.interval.low:.0f} to {100 * row.interval.high:.0f})"


def _class(colour: int | None) -> str:
    return "base" if colour is None else f"c{colour}"


def _anchor(index: int, count: int) -> str:
    return "start" if index == 0 else "end" if index == count - 1 else "middle"


def legend(names: Sequence[str]) -> Markup:
    """Return a legend of parts: name ``i`` with the class ``c<i>``."""
    return tag(
        "ul", *(tag("li", swatch(f"c{index}"), name) for index, name in enumerate(names)), class_="legend"
    )
