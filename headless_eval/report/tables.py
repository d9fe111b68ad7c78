"""The summary as a table for the terminal."""

from rich.text import Text

from headless_eval.report.comparison import Comparison, Paired, episodes_of, names_of_tests
from headless_eval.report.summary import Row, Summary, pairs_to_detect
from headless_eval.shared.terminal import Listing

_MAX_TASK_COLUMNS = 6


def rich_table(summary: Summary) -> Listing | Text:
    """Return the summary as a table for the terminal: a row per variant, with tasks as columns if they fit.

    Variants that differ from the baseline (p at most 0.05 after Holm's correction) are red if worse, green if better.
    """
    if not summary.rows:
        return Text("No episode has run.")
    tasks = list(summary.tasks) if 1 < len(summary.tasks) <= _MAX_TASK_COLUMNS else []
    header = ["precision", *tasks, "success", "rate %"]
    compared = any(row.comparison for row in summary.rows)
    if compared:
        header += [f"Δ {summary.baseline}", "p", "sees"]
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
    return Listing(
        header,
        rows,
        title=f"{summary.suite}: success by precision",
        legend=_legend(summary)
        | {"errors": f"Episodes with an error ({summary.errors}) count nowhere else."},
        note=" ".join(f"{sentence}." for sentence in summary.notes),
        spare=(tasks,),
        styles=[_style(row.comparison) for row in summary.overall],
    )


def detection_text(summary: Summary, drop: float) -> str:
    """Return lines with the number of episodes that each variant needs to show a drop (above 0, at most 1)."""
    needed = pairs_to_detect(summary, drop)
    if not needed:
        return f"To detect a drop there is nothing to compare: {summary.baseline} and another precision must have run."
    paired = all(isinstance(row.comparison, Paired | None) for row in summary.overall)
    lines = [
        f"To detect a drop of {100 * drop:g} points with 80 % power at a level of {0.05 / len(needed):.2g}, "
        f"each needs this many {'paired episodes' if paired else 'episodes on each side'}:"
    ]
    width = max(map(len, needed))
    for name, pairs in needed.items():
        comparison = summary.row(name).comparison
        said = "not possible: losses and gains would exceed all episodes" if pairs is None else f"{pairs:,}"
        lines.append(f"  {name:{width}}  {said} (this run has {comparison.number if comparison else 0:,})")
    return "\n".join(lines)


def format_p(p_value: float) -> str:
    """Return a p-value to two significant digits, ``<0.001`` below that."""
    if p_value < 0.001:
        return "<0.001"
    return "1" if p_value >= 0.995 else f"{p_value:.2g}"


def p_text(p_value: float) -> str:
    """Return ``p = 0.0039`` or ``p < 0.001``."""
    text = format_p(p_value)
    return f"p < {text[1:]}" if text.startswith("<") else f"p = {text}"


def format_points(difference: float) -> str:
    """Return a difference of rates in percentage points, with its sign."""
    points = round(100 * difference)
    return f"{points:+d}".replace("-", "−") if points else "0"


def _legend(summary: Summary) -> dict[str, str]:
    compared = [row.comparison for row in summary.overall]
    return {
        "rate %": "In brackets 95 % intervals: of the rate after Wilson.",
        f"Δ {summary.baseline}": f"Δ {summary.baseline}: difference in percentage points {episodes_of(compared)}, "
        "interval after Newcombe.",
        "p": f"p: {names_of_tests(compared)}, after Holm.",
        "sees": "Sees: smallest drop, in points, that these episodes show with 80 % power; – if they are too few for "
        "any.",
    }


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
    sees = "–" if comparison.detectable is None else format_points(-comparison.detectable)
    return [difference, format_p(p_value), sees]


def _style(comparison: Comparison | None) -> str:
    decided = None if comparison is None else comparison.decided
    return {"worse": "red", "better": "green", None: ""}[decided]
