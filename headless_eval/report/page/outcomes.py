"""The page's section of outcomes finer than success, compared with the baseline's."""

from headless_eval.report.outcome_tables import (
    amount,
    explanation,
    heading,
    say_change,
    shown_outcomes,
    signed,
    unit_of_change,
)
from headless_eval.report.outcomes import OutcomeChange
from headless_eval.report.page.markup import Markup, join, tag
from headless_eval.report.page.table import scrolling, table
from headless_eval.report.summary import Summary
from headless_eval.report.tables import format_p
from headless_eval.results.outcomes import QUANTITIES
from headless_eval.shared.text import uncapitalized

_EVERYTHING = ("Precision, outcome", "Pairs", "Means", "Change", "p", "Equal within", "Would show")


def outcomes(summary: Summary) -> Markup:
    """Return the table of the primary outcomes, and below it, collapsed, that of all."""
    if not summary.outcomes:
        return tag("p", "No outcome beside success was recorded for a pair of episodes.", class_="note")
    shown = shown_outcomes(summary.outcomes)
    found = {(one.configuration, one.outcome.name): one for one in summary.outcomes}
    means: dict[str, float] = {}
    for one in summary.outcomes:
        means.setdefault(one.outcome.name, one.reference)
    rows: list[tuple[str, list[tuple[str, str | None]]]] = [
        (summary.baseline, [(amount(means[one.name]), "number") for one in shown])
    ]
    for name in dict.fromkeys(one.configuration for one in summary.outcomes):
        rows.append((name, [_cell(found.get((name, one.name))) for one in shown]))
    heads = ["Precision", *map(heading, shown)]
    said = [
        f"{one.title}: {uncapitalized(QUANTITIES[one.name].sentence)}."
        for one in shown
        if one.name in QUANTITIES
    ]
    note = f"{summary.baseline}: means. {explanation(summary.outcomes, summary.baseline)}"
    return join(
        scrolling(table("summary", heads, rows), "Outcomes"),
        tag("p", note, class_="note"),
        tag("p", " ".join(said), class_="note") if said else None,
        tag("details", tag("summary", "All outcomes: means, p, equivalence and power"), _everything(summary)),
    )


def _cell(one: OutcomeChange | None) -> tuple[str, str | None]:
    if one is None:
        return "–", "number"
    return say_change(one) + (" *" if one.decided else ""), f"number {one.decided or ''}".strip()


def _everything(summary: Summary) -> Markup:
    rows: list[tuple[str, list[tuple[str, str | None]]]] = []
    for one in summary.outcomes:
        within = "–" if one.change is None else _size(one.change.equal_within, one)
        sees = "–" if one.detectable is None else _size(one.detectable, one)
        p_value = format_p(one.p_value if one.p_holm is None else one.p_holm)
        pairs = f"{one.pairs}" if one.pairs == one.of else f"{one.pairs} of {one.of}"
        means = f"{amount(one.reference)} → {amount(one.mean, one.outcome.unit)}"
        change, look = _cell(one)
        cells: list[tuple[str, str | None]] = [
            (pairs, "number"),
            (means, "number"),
            (change, look),
            (p_value, look),
        ]
        rows.append(
            (f"{one.configuration}, {one.outcome.title}", [*cells, (within, "number"), (sees, "number")])
        )
    note = (
        "Means of the baseline and of the precision. p: after Holm's correction. Equal within: the smallest margin "
        "within which the means are shown to be equal (two one-sided tests at 5 %). Would show: the smallest change "
        "that these pairs show with 80 % power. Episodes that fail have no time to success; in the time with failures "
        "at the limit they count as long as they were allowed to take."
    )
    return join(scrolling(table("summary", _EVERYTHING, rows), "All outcomes"), tag("p", note, class_="note"))


def _size(value: float, one: OutcomeChange) -> str:
    return f"{signed(value, one.outcome).lstrip('+')} {unit_of_change(one.outcome)}".strip()
