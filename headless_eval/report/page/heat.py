"""The page's heat map: a table of variants (rows) by tasks (columns), whose cells are shaded by success."""

from collections.abc import Mapping, Sequence

from headless_eval.report.page.drawings import describe_rate
from headless_eval.report.page.markup import Markup, tag
from headless_eval.report.page.table import scrolling
from headless_eval.report.summary import Row, Summary

_FEW, _SOME, _FITTING = 5, 8, 11
"""The most columns whose heads are horizontal on a phone, are horizontal elsewhere, and whose cells fit on a phone."""


def heat_map(summary: Summary) -> Markup:
    """Return the table; on a phone the variants' names stand above their cells, unless there are too many tasks."""
    tasks = [None, *summary.tasks] if len(summary.tasks) > 1 else [None]
    number = len(tasks)
    classes = ["heat", "few" if number <= _FEW else "some" if number <= _SOME else "many"]
    classes += ["stacked"] if number <= _FITTING else []
    room = 12 if number <= _SOME else 24
    found = {(row.configuration, row.task): row for row in summary.rows}
    names = {task: "all tasks" if task is None else summary.tasks[task] for task in tasks}
    heads = [tag("th", _short(task, room), scope="col", title=name) for task, name in names.items()]
    rows = {
        configuration: [
            _cell(found.get((configuration, task)), f"{configuration}, {name}")
            for task, name in names.items()
        ]
        for configuration in summary.configurations
    }
    return scrolling(heat_table(heads, rows, " ".join(classes)), "Heat map")


def heat_table(heads: Sequence[Markup], rows: Mapping[str, Sequence[Markup]], classes: str) -> Markup:
    """Return a table of shaded cells: the heads of its columns, and each variant's cells."""
    body = [
        tag("tr", tag("th", name, scope="row"), *(tag("td", cell) for cell in cells))
        for name, cells in rows.items()
    ]
    return tag("table", tag("thead", tag("tr", tag("td"), *heads)), tag("tbody", *body), class_=classes)


def _short(task: str | None, room: int) -> str:
    if task is None:
        return "all"
    return task if len(task) <= room else f"{task[: room - 1]}…"


def _cell(row: Row | None, name: str) -> Markup:
    if row is None or row.rate is None:
        outcome, shown = ("only errors", "error") if row is not None else ("not run", "–")
        return empty_cell(f"{name}: {outcome}", shown)
    return shaded_cell(row.rate, f"{name}: {row.successes}/{row.episodes}, {describe_rate(row)}")


_BOX = {"width": "100%", "height": "100%", "rx": 3}
_MIDDLE = {"x": "50%", "y": 18, "text_anchor": "middle"}


def shaded_cell(rate: float, title: str, mark: str = "") -> Markup:
    """Return a cell shaded by a rate, with its percentage and a mark after it."""
    opacity = 0.06 + 0.94 * rate
    marks = [
        tag("title", title),
        tag("rect", **_BOX, class_="cell", fill_opacity=opacity),
        tag("text", f"{100 * rate:.0f}{mark}", **_MIDDLE, class_="strong" if opacity > 0.78 else None),
    ]
    return tag("svg", *marks, height=28)


def empty_cell(title: str, shown: str = "–") -> Markup:
    """Return a cell without a rate."""
    marks = [
        tag("title", title),
        tag("rect", **_BOX, class_="none"),
        tag("text", shown, **_MIDDLE, class_="faint"),
    ]
    return tag("svg", *marks, height=28)
