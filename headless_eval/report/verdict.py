"""Verdicts: one sentence per variant about its success compared with the baseline."""

from typing import Literal, NamedTuple

from headless_eval.report.comparison import Paired
from headless_eval.report.summary import Row, Summary
from headless_eval.report.tables import format_p, format_points

Kind = Literal["reference", "worse", "better", "undecided", "same", "nothing"]


class Verdict(NamedTuple):
    """A sentence about a variant, and its kind.

    ``undecided``: no difference was shown, which does not mean that the rates are equal; ``same``: variant and baseline
    succeeded and failed in the same episodes; ``nothing``: the variant cannot be compared.
    """

    configuration: str
    kind: Kind
    sentence: str


def verdicts(summary: Summary) -> list[Verdict]:
    """Return a verdict on each variant, in order; each sentence continues after the variant's name."""
    return [Verdict(row.configuration, *_judge(row, summary.baseline)) for row in summary.overall]


def _judge(row: Row, baseline: str) -> tuple[Kind, str]:
    if row.rate is None or row.interval is None:
        return "nothing", f"ended in an error in all of its {_episodes(row.errors)}."
    low, high = row.interval
    rate = (
        f"succeeds in {row.successes} of {_episodes(row.episodes)}: {100 * row.rate:.0f}\u00a0% "
        f"(95\u00a0% interval {100 * low:.0f} to {100 * high:.0f}\u00a0%)"
    )
    if row.configuration == baseline:
        return "reference", f"{rate}. It is what the others are compared with."
    one = row.comparison
    if one is None:
        if row.unpaired:
            return (
                "nothing",
                f"{rate}; seeds or initial states are not those of {baseline}: nothing compares.",
            )
        return "nothing", f"{rate}; no {baseline} episode is there to compare with."
    p_value = one.p_value if one.p_holm is None else one.p_holm
    change = (
        f"{format_points(one.difference)} points "
        f"({format_points(one.interval.low)} to {format_points(one.interval.high)}, p\u00a0{_p(p_value)})"
    )
    pairs = one.say(one.number)
    if one.decided == "worse":
        return "worse", f"succeeds less often than {baseline}: {change} over {pairs}."
    if one.decided == "better":
        return "better", f"succeeds more often than {baseline}: {change} over {pairs}."
    sees = (
        f"{pairs} are too few to show any drop"
        if one.detectable is None
        else f"{pairs} would show a drop of {100 * one.detectable:.0f} points or more"
    )
    if isinstance(one, Paired) and one.constant:
        return "same", f"succeeds and fails in the same episodes as {baseline}; {sees}."
    return "undecided", f"is not shown to differ from {baseline}: {change}; {sees}."


def _episodes(count: int) -> str:
    return f"{count:,} episode" + ("" if count == 1 else "s")


def _p(p_value: float) -> str:
    text = format_p(p_value)
    return text if text.startswith("<") else f"=\u00a0{text}"
