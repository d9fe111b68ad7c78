"""Which episodes of two variants, or of two runs, are the same and may be compared in pairs."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from headless_eval.results.record import ERROR, EpisodeRecord


class Pairs(NamedTuple):
    """Episodes that ended without an error on both sides.

    Args:
        matched: the pairs, in the order of the first side.
        unmatched: records of the first side whose task and number the second side has too, but from another seed or
            another initial state: comparing them would compare different episodes.
        unknown: pairs of the same task and number of which it is not known whether they are the same episode: another
            evaluator did not record the seed.
    """

    matched: list[tuple[EpisodeRecord, EpisodeRecord]]
    unmatched: list[EpisodeRecord]
    unknown: list[tuple[EpisodeRecord, EpisodeRecord]]


def same_episode(one: EpisodeRecord, other: EpisodeRecord) -> bool:
    """Return whether two records are of the same episode: task, number, seed and initial state agree.

    An initial state that one of them does not state, as in journals of earlier versions, is no disagreement. A seed
    that is not recorded does not agree with any, unless the user says that the episodes are the same.
    """
    states = {one.initial_state_sha256, other.initial_state_sha256} - {None}
    return (
        _place(one) == _place(other)
        and (_assumed(one, other) if _unknown(one, other) else one.seed == other.seed)
        and len(states) < 2
    )


def pair(ours: Iterable[EpisodeRecord], theirs: Iterable[EpisodeRecord]) -> Pairs:
    """Return the pairs of two sides; each side has at most one record of a task and number."""
    there = {_place(record): record for record in theirs if record.status != ERROR}
    found = Pairs([], [], [])
    for record in ours:
        twin = None if record.status == ERROR else there.get(_place(record))
        if twin is None:
            continue
        if same_episode(record, twin):
            found.matched.append((record, twin))
        elif _unknown(record, twin):
            found.unknown.append((record, twin))
        else:
            found.unmatched.append(record)
    return found


def _place(record: EpisodeRecord) -> tuple[Any, ...]:
    return record.stated("task_id"), record.task_key, record.episode


def _unknown(one: EpisodeRecord, other: EpisodeRecord) -> bool:
    return "seed" in one.unrecorded | other.unrecorded


def _assumed(one: EpisodeRecord, other: EpisodeRecord) -> bool:
    return one.assumed_same and other.assumed_same
