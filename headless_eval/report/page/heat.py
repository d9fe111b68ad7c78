"""The page's heat map: a table of variants (rows) by tasks (columns), whose cells are shaded by success."""

from headless_eval.report.page.drawings import describe_rate
from headless_eval.report.page.markup import Markup, tag
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
    rows = [
        tag(
            "tr",
            tag("th", configuration, scope="row"),
            *(
                tag("td", _cell(found.get((configuration, task)), f"{configuration}, {name}"))
                for task, name in names.items()
            ),
        )
        for configuration in summary.configurations
    ]
    table = tag(
        "table",
        tag("thead", tag("tr", tag("td"), *heads)),
        tag("tbody", *rows),
        class_=" ".join(classes),
    )
    return tag("div", table, class_="scroll", tabindex=0, role="region", aria_label="Heat map")


def _short(task: str | None, room: int) -> str:
    if task is None:
        return "all"
    return task if len(task) <= room else f"{task[: room - 1]}…"


def _cell(row: Row | None, name: str) -> Markup:
    box = {"width": "100%", "height": "100%", "rx": 3}
    middle = {"x": "50%", "y": 18, "text_anchor": "middle"}
    if row is None or row.rate is None:
        outcome, shown = ("only errors", "error") if row is not None else ("not run", "–")
        marks = [
            tag("title", f"{name}: {outcome}"),
            tag("rect", **box, class_="none"),
            tag("text", shown, **middle, class_="faint"),
        ]
        return tag("svg", *marks, height=28)
    opacity = 0.06 + 0.94 * row.rate
    marks = [
        tag("title", f"{name}: {row.successes}/{row.episodes}, {describe_rate(row)}"),
        tag("rect", **box, class_="cell", fill_opacity=opacity),
        tag("text", f"{100 * row.rate:.0f}", **middle, class_="strong" if opacity > 0.78 else None),
    ]
    return tag("svg", *marks, height=28)
