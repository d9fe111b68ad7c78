"""How episodes fail: counts of the reasons, and of the furthest phases, by variant."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from headless_eval.results.outcomes import REASONS
from headless_eval.results.record import ERROR, FAILURE, EpisodeRecord
from headless_eval.shared.terminal import Listing
from headless_eval.shared.text import uncapitalized

UNTOLD = "not told"
"""In counts: failures of which the simulator tells no reason."""

PHASES = ("approach", "press", "grasp", "lift", "carry", "place")
"""In the order in which an episode comes to them; other simulators may have others."""


@dataclass(frozen=True)
class Failures:
    """How the episodes of a variant failed.

    Args:
        configuration: the variant's name.
        episodes: how many ended in success or failure.
        reasons: how many failed for each reason.
        phases: how many came to each phase and no further, successes included.
    """

    configuration: str
    episodes: int
    reasons: Mapping[str, int]
    phases: Mapping[str, int]

    @property
    def failures(self) -> int:
        """How many failed."""
        return sum(self.reasons.values())


def count_failures(records: Iterable[EpisodeRecord]) -> tuple[Failures, ...]:
    """Return the counts of each variant, in the records' order; empty if no record has a reason or a phase."""
    episodes: Counter[str] = Counter()
    reasons: dict[str, Counter[str]] = {}
    phases: dict[str, Counter[str]] = {}
    told = False
    for record in records:
        name = record.configuration
        mine, reached = reasons.setdefault(name, Counter()), phases.setdefault(name, Counter())
        if record.status == ERROR:
            continue
        episodes[name] += 1
        if record.status == FAILURE:
            mine[record.reason or UNTOLD] += 1
        if record.phase is not None:
            reached[record.phase] += 1
        told = told or record.reason is not None or record.phase is not None
    if not told:
        return ()
    return tuple(
        Failures(name, episodes[name], ordered(reasons[name], REASONS), ordered(phases[name], PHASES))
        for name in reasons
    )


def ordered(counts: Mapping[str, int], known: Iterable[str]) -> dict[str, int]:
    """Return counts in the order of known names, others after them, and failures without a reason last."""
    order = [*known, *sorted(set(counts) - {*known, UNTOLD}), UNTOLD]
    return {name: counts[name] for name in order if name in counts}


def all_reasons(failures: Sequence[Failures]) -> list[str]:
    """Return every reason that some variant has, in order."""
    return list(ordered({name: 1 for one in failures for name in one.reasons}, REASONS))


def all_phases(failures: Sequence[Failures]) -> list[str]:
    """Return every phase that some episode ended in, in order."""
    return list(ordered({name: 1 for one in failures for name in one.phases}, PHASES))


def words(name: str) -> str:
    """Return a reason or a phase as people write it: ``missed grasp``."""
    return name.replace("_", " ")


def failure_table(suite: str, failures: Sequence[Failures]) -> Listing | None:
    """Return the reasons as a table for the terminal, a row per variant with failures; None without any."""
    reasons = all_reasons(failures)
    if not reasons:
        return None
    rows = [
        [one.configuration, str(one.failures), *(str(one.reasons.get(name, "")) for name in reasons)]
        for one in failures
        if one.failures
    ]
    return Listing(
        ["precision", "failures", *map(words, reasons)],
        rows,
        title=f"{suite}: how episodes fail",
        note="report.html says what each reason means, and how far episodes came.",
    )


def sentence(reason: str) -> str:
    """Return what a known reason means, beginning with a small letter, without its full stop."""
    return uncapitalized(REASONS[reason])
