"""The statistics of a certificate: a row per variant and task, and one per variant over all tasks."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from headless_eval.report.statistics import Interval
from headless_eval.report.summary import Row, Summary, summarize
from headless_eval.results.stopping import Stopping
from headless_eval.runs.certificate.document import Certificate
from headless_eval.shared.text import plural

_COUNTS = ("episodes", "successes", "errors")
_COMPARED = ("pairs", "both", "gained", "lost", "difference", "p_value", "p_holm")
_CLOSE = 1e-6
"""How far a number may be from the recomputed one, relative to it: libraries' last bits differ."""


def statistics_of(certificate: Certificate) -> list[dict[str, Any]]:
    """Return the rows that a certificate's episodes give, ready for JSON."""
    stopping = _stopping(certificate)
    stops = {} if stopping is None else stopping.stops
    rows = []
    for row in summary_of(certificate).rows:
        stop = stops.get(row.configuration) if row.task is None else None
        rows.append(_row(row) | ({} if stop is None else {"sequential": stop.decision}))
    return rows


def summary_of(certificate: Certificate) -> Summary:
    """Return the summary of a certificate's episodes."""
    return summarize(certificate.suite, certificate.records(), certificate.baseline)


def missing_trials(certificate: Certificate) -> int:
    """Return how many episodes the settings name and the certificate lacks; those after a decision are not missing."""
    there = {episode.trial for episode in certificate.episodes}
    stopping = _stopping(certificate)
    return sum(
        trial not in there and (stopping is None or stopping.wanted(trial))
        for variant in certificate.variants
        for task in certificate.tasks
        for trial in ((variant.name, task.id, number) for number in range(certificate.episodes_per_task))
    )


def _stopping(certificate: Certificate) -> Stopping | None:
    """Return the tests of a sequential run with its episodes; None for another run."""
    if certificate.sequential is None:
        return None
    names, tasks = [one.name for one in certificate.variants], [one.id for one in certificate.tasks]
    stopping = Stopping(names, tasks, certificate.sequential, baseline=certificate.baseline)
    for record in certificate.records():
        stopping.add(record)
    return stopping


def first_difference(stated: Sequence[Mapping[str, Any]], found: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the first number of some rows that is not the recomputed one, in words; None if all are the same."""
    for index, row in enumerate(found):
        if index >= len(stated):
            return f"{_name(row)}: not stated"
        for name in dict.fromkeys([*row, *stated[index]]):
            one, other = stated[index].get(name), row.get(name)
            if not _same(one, other):
                return f"{_name(row)}: {name} {one!r:.60} is stated, {other!r:.60} is what the episodes give"
    return "a row is stated that no episode is of" if len(stated) > len(found) else None


def _row(row: Row) -> dict[str, Any]:
    stated: dict[str, Any] = {"variant": row.configuration, "task": row.task}
    stated |= {name: getattr(row, name) for name in _COUNTS}
    stated |= {"rate": row.rate, "interval": None if row.interval is None else list(row.interval)}
    if row.comparison is not None:
        stated |= {name: getattr(row.comparison, name) for name in _COMPARED}
        stated["difference_interval"] = list(row.comparison.interval)
    return stated


def _name(row: Mapping[str, Any]) -> str:
    return f"{row['variant']}, {row['task'] or 'all tasks'}"


def _same(one: Any, other: Any) -> bool:
    """Compare values; numbers only with numbers, floats up to their last bits."""
    if isinstance(other, float) and type(one) in (int, float):
        return math.isclose(one, other, rel_tol=_CLOSE, abs_tol=_CLOSE)
    if isinstance(other, list) and isinstance(one, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return type(one) is type(other) and bool(one == other)


def rate_lines(summary: Summary) -> Iterator[str]:
    """Yield a line per variant: its successes, their rate, and the difference to the baseline."""
    for row in summary.overall:
        if row.rate is None or row.interval is None:
            yield f"{row.configuration}: no episode without an error"
            continue
        rate = f"{100 * row.rate:.1f} % {_interval(row.interval)}"
        text = f"{row.configuration}: {row.successes} of {row.episodes} succeed, {rate}"
        if (one := row.comparison) is not None:
            difference = f"{100 * one.difference:+.1f} points {_interval(one.interval, '+')}"
            text += f"; against {summary.baseline} {difference}, p = {one.p_value:.2g}"
        yield text + (f"; {plural(row.errors, 'error')}" if row.errors else "")


def _interval(interval: Interval, sign: str = "") -> str:
    low, high = (100 * bound for bound in interval)
    return f"[{low:{sign}.1f}, {high:{sign}.1f}]"
