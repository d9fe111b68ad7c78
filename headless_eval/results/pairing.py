"""Which episodes of two variants, or of two runs, are the same and may be compared in pairs."""

from collections.abc import Iterable
from typing import NamedTuple

from headless_eval.results.record import ERROR, EpisodeRecord


class Pairs(NamedTuple):
    """Episodes that ended without an error on both sides.

    Args:
        matched: the pairs, in the order of the first side.
        unmatched: records of the first side whose task and number the second side has too, but from another seed or
            another initial state: comparing them would compare different episodes.
    """

    matched: list[tuple[EpisodeRecord, EpisodeRecord]]
    unmatched: list[EpisodeRecord]


def same_episode(one: EpisodeRecord, other: EpisodeRecord) -> bool:
    """Return whether two records are of the same episode: task, number, seed and initial state agree.

    An initial state that one of them does not state, as in journals of earlier versions, is no disagreement.
    """
    states = {one.initial_state_sha256, other.initial_state_sha256} - {None}
    return ((one.task_id, one.episode, one.seed) == (other.task_id, other.episode, other.seed)) and len(
        states
    ) < 2


def pair(ours: Iterable[EpisodeRecord], theirs: Iterable[EpisodeRecord]) -> Pairs:
    """Return the pairs of two sides; each side has at most one record of a task and number."""
    there = {(record.task_id, record.episode): record for record in theirs if record.status != ERROR}
    found = Pairs([], [])
    for record in ours:
        twin = None if record.status == ERROR else there.get((record.task_id, record.episode))
        if twin is None:
            continue
        if same_episode(record, twin):
            found.matched.append((record, twin))
        else:
            found.unmatched.append(record)
    return found
