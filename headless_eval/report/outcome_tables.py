"""Compared outcomes in words and tables."""

import math
from collections.abc import Sequence
from typing import Any

from rich.text import Text

from headless_eval.report.outcomes import PRIMARY, TIME, Outcome, OutcomeChange
from headless_eval.report.paired import LEAST
from headless_eval.report.summary import Summary
from headless_eval.shared.terminal import Listing

COLUMNS = (
    *("configuration", "outcome", "unit", "worse", "episodes", "pairs", "differing", "reference", "mean"),
    *("change", "change_low", "change_high", "change_unit", "p", "p_holm", "equal_within", "detectable"),
)
"""The columns of tables of outcomes for machines: ``outcomes.csv`` and data frames."""


def outcome_rows(changes: Sequence[OutcomeChange]) -> list[dict[str, Any]]:
    """Return a row per variant and outcome, by ``COLUMNS``; shares are of 1, ``change_unit`` is then ``share``."""
    rows = []
    for one in changes:
        low, high = one.change.interval if one.change else (None, None)
        rows.append(
            {
                "configuration": one.configuration,
                "outcome": one.outcome.name,
                "unit": one.outcome.unit,
                "worse": one.outcome.worse,
                "episodes": one.of,
                "pairs": one.pairs,
                "differing": one.differing,
                "reference": one.reference,
                "mean": one.mean,
                "change": one.change.value if one.change else None,
                "change_low": low,
                "change_high": high,
                "change_unit": "share" if one.outcome.relative else one.outcome.unit,
                "p": one.p_value,
                "p_holm": one.p_holm,
                "equal_within": one.change.equal_within if one.change else None,
                "detectable": one.detectable,
            }
        )
    return rows


def amount(value: float, unit: str = "") -> str:
    """Return an amount to three significant digits, with its unit."""
    text = f"{value:.3g}" if 1e-3 <= abs(value) < 1e4 or not value else f"{value:.2e}"
    return f"{text} {unit}".strip().replace("-", "−")


def signed(value: float, outcome: Outcome) -> str:
    """Return a change with its sign, without its unit: percent of a share."""
    shown = 100 * value if outcome.relative else value
    if math.isinf(shown):
        return "∞" if shown > 0 else "−∞"
    size = f"{abs(shown):.0f}" if outcome.relative and abs(shown) >= 10 else f"{abs(shown):.2g}"
    if float(size) == 0:
        return "0"
    if abs(shown) >= 100:
        size = f"{abs(shown):,.0f}"
    return f"{'+' if shown > 0 else '−'}{size}"


def unit_of_change(outcome: Outcome) -> str:
    """Return the unit of an outcome's change."""
    return "%" if outcome.relative else outcome.unit


def say_change(one: OutcomeChange) -> str:
    """Return a change with its 95 % interval: ``+97 % (+80 to +115)``; what differs in few pairs has none."""
    if one.change is None:
        return "the same" if not one.differing else f"differs in {one.differing} of {one.pairs}"
    low, high = (signed(end, one.outcome) for end in one.change.interval)
    words = [signed(one.change.value, one.outcome), unit_of_change(one.outcome), f"({low} to {high})"]
    return " ".join(filter(None, words))


def shown_outcomes(changes: Sequence[OutcomeChange]) -> list[Outcome]:
    """Return the outcomes that tables show unless asked for more: the primary ones, or else the first few."""
    found = {one.outcome.name: one.outcome for one in changes}
    return [found[name] for name in PRIMARY if name in found] or list(found.values())[: len(PRIMARY)]


def heading(outcome: Outcome) -> str:
    """Return the head of an outcome's column: its title, with the unit of its mean."""
    return f"{outcome.title}, {outcome.unit}" if outcome.unit else outcome.title


def explanation(changes: Sequence[OutcomeChange], baseline: str) -> str:
    """Return what the numbers of a table of outcomes are, in sentences.

    Args:
        changes: all of them, shown or not.
        baseline: what they are changes from.
    """
    tests = len(changes)
    partial = any(one.name == TIME for one in shown_outcomes(changes))
    sentences = [
        f"Change of the mean from {baseline}'s over the same episodes, with its 95 % interval",
        "*: differs by Wilcoxon's signed-rank test at 5 %, after Holm's correction over "
        + (f"{tests} tests, of all outcomes and variants" if tests > 1 else "one test"),
    ]
    if partial:
        sentences.append("The time to success is over episodes that succeed in both")
    if any(one.change is None for one in changes):
        sentences.append(f"With fewer than {LEAST} pairs that differ there is no interval")
    return ". ".join(sentences) + "."


def outcome_table(summary: Summary) -> Listing | None:
    """Return the primary outcomes as a table for the terminal, a row per variant; None without outcomes."""
    if not summary.outcomes:
        return None
    outcomes = shown_outcomes(summary.outcomes)
    found = {(one.configuration, one.outcome.name): one for one in summary.outcomes}
    means: dict[str, float] = {}
    for one in summary.outcomes:
        means.setdefault(one.outcome.name, one.reference)
    rows: list[list[str | Text]] = [
        [summary.baseline, *(amount(means[one.name], one.unit) for one in outcomes)]
    ]
    for name in dict.fromkeys(one.configuration for one in summary.outcomes):
        rows.append([name, *(outcome_cell(found.get((name, one.name))) for one in outcomes)])
    return Listing(
        ["precision", *(one.title for one in outcomes)],
        rows,
        title=f"{summary.suite}: outcomes by precision",
        note=explanation(summary.outcomes, summary.baseline),
        spare=[{one.title} for one in reversed(outcomes[1:])],
    )


def outcome_cell(one: OutcomeChange | None) -> str | Text:
    """Return the cell of a change in a table for the terminal."""
    if one is None:
        return "–"
    style = {"worse": "red", "better": "green"}.get(one.decided or "", "")
    return Text(say_change(one) + (" *" if one.decided else ""), style)
