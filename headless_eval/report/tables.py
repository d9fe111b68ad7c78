"""The summary as a table, for the terminal and for Markdown."""

from dataclasses import dataclass

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from headless_eval.report.summary import Comparison, Row, Summary, pairs_to_detect

_MAX_TASK_COLUMNS = 6


def rich_table(summary: Summary) -> RenderableType:
    """Return the summary for a terminal: a row per configuration; its tasks as columns, where they fit.

    Configurations that differ from float32 are red if worse and green if better: p at most 0.05 after Holm.
    """
    layouts = ((True, 1), (False, 1), (False, 0))
    return _Fitting([_rich(summary, per_task=per_task, space=space) for per_task, space in layouts])


def detection_text(summary: Summary, drop: float) -> str:
    """Return, in lines, how many episodes each configuration needs to show a drop (above 0, at most 1)."""
    needed = pairs_to_detect(summary, drop)
    if not needed:
        return "To detect a drop there is nothing to compare: float32 and another precision must have run."
    lines = [
        f"To detect a drop of {100 * drop:g} points with 80 % power at a level of {0.05 / len(needed):.2g}, "
        "each needs this many paired episodes:"
    ]
    width = max(map(len, needed))
    for name, pairs in needed.items():
        comparison = summary.row(name).comparison
        said = "not possible: losses and gains would exceed all episodes" if pairs is None else f"{pairs:,}"
        lines.append(f"  {name:{width}}  {said} (this run has {comparison.pairs if comparison else 0:,})")
    return "\n".join(lines)


def format_p(p_value: float) -> str:
    """Return a p-value to two significant digits, ``<0.001`` below that."""
    if p_value < 0.001:
        return "<0.001"
    return "1" if p_value >= 0.995 else f"{p_value:.2g}"


def format_points(difference: float) -> str:
    """Return a difference of rates in percentage points, with its sign."""
    points = round(100 * difference)
    return f"{points:+d}".replace("-", "−") if points else "0"


@dataclass(frozen=True)
class _Fitting:
    """Shows the first of some tables that is not too wide, or else the last."""

    tables: list[Table]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        widths = (
            Measurement.get(console, options.update(max_width=1000), table).maximum for table in self.tables
        )
        fitting = (
            table for table, width in zip(self.tables, widths, strict=True) if width <= options.max_width
        )
        yield next(fitting, self.tables[-1])


@dataclass(frozen=True)
class _Content:
    title: str
    caption: str
    header: list[str]
    rows: list[list[str]]


def _rich(summary: Summary, *, per_task: bool, space: int) -> Table:
    content = _content(summary, per_task=per_task)
    padding = (0, space, 0, 0)
    table = Table(box=box.SIMPLE_HEAD, padding=padding, title=content.title, caption=content.caption)
    table.caption_justify = "left"
    for index, name in enumerate(content.header):
        table.add_column(name, justify="right" if index else "left", no_wrap=True)
    for cells, row in zip(content.rows, summary.overall, strict=True):
        table.add_row(*(Text(cell) for cell in cells), style=_style(row.comparison))
    return table


def _content(summary: Summary, *, per_task: bool) -> _Content:
    tasks = list(summary.tasks) if per_task and 1 < len(summary.tasks) <= _MAX_TASK_COLUMNS else []
    header = ["precision", *tasks, "success", "rate %"]
    compared = any(row.comparison for row in summary.rows)
    if compared:
        header += ["Δ float32", "p", "sees"]
    if summary.errors:
        header.append("errors")

    found = {(row.configuration, row.task): row for row in summary.rows}
    rows = []
    for overall in summary.overall:
        cells = [overall.configuration]
        cells += [_count(found.get((overall.configuration, task))) for task in tasks]
        cells += [_count(overall), _rate(overall)]
        if compared:
            cells += _comparison(overall.comparison)
        if summary.errors:
            cells.append(str(overall.errors or ""))
        rows.append(cells)

    caption = "In brackets 95 % intervals, of the rate after Wilson"
    if compared:
        caption += ", of the paired difference (percentage points) after Newcombe"
        caption += "; p: McNemar's exact test, after Holm; sees: smallest drop found with 80 % power"
    if summary.errors:
        caption += f". Episodes with an error ({summary.errors}) count nowhere else"
    if summary.stopped:
        caption += f". {summary.stopped}"
    return _Content(f"{summary.suite}: success by precision", caption + ".", header, rows)


def _count(row: Row | None) -> str:
    return f"{row.successes}/{row.episodes}" if row is not None and row.episodes else "–"


def _rate(row: Row) -> str:
    if row.rate is None or row.interval is None:
        return "–"
    return f"{100 * row.rate:.0f} [{100 * row.interval.low:.0f}, {100 * row.interval.high:.0f}]"


def _comparison(comparison: Comparison | None) -> list[str]:
    if comparison is None:
        return ["", "", ""]
    low, high = comparison.interval
    difference = f"{format_points(comparison.difference)} [{format_points(low)}, {format_points(high)}]"
    p_value = comparison.p_value if comparison.p_holm is None else comparison.p_holm
    sees = "–" if comparison.detectable is None else f"{100 * comparison.detectable:.0f}"
    return [difference, format_p(p_value), sees]


def _style(comparison: Comparison | None) -> str:
    decided = None if comparison is None else comparison.decided
    return {"worse": "red", "better": "green", None: ""}[decided]
