"""Data of the page's table of episodes: compact, in blocks of one precision and task."""

import json
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from headless_eval.contracts.variant import DEFAULT_BASELINE
from headless_eval.report.failures import words
from headless_eval.report.page.markup import Markup
from headless_eval.results.pairing import same_episode
from headless_eval.results.record import FAILURE, EpisodeRecord
from headless_eval.shared.files import is_inside

_LETTERS = {"success": "s", "failure": "f", "error": "e"}

MAX_TRACEBACK = 8_000
"""Characters kept of a traceback's end."""

MAX_ERRORS = 4_000_000
"""Limit of the characters of all errors in a page; the journal has every error in full."""


def embed(
    records: Sequence[EpisodeRecord],
    baseline: str = DEFAULT_BASELINE,
    divergence: Mapping[str, Any] | None = None,
) -> Markup:
    """Return the data of the table of episodes as JSON that may be placed in an HTML element.

    The JSON has ``configurations`` (names), ``tasks`` (key, name, instruction), ``baseline`` (index of its name, or
    -1), ``blocks``, and ``errors`` (type, message, traceback) without repetitions. A block has columns for its
    episodes: ``episode``, ``status`` (a letter each), ``steps``, ``replans``, ``tenths`` of seconds, ``video`` (``+``
    the usual name, ``-`` no video, ``?`` the next of ``paths``), and ``error`` (index into ``errors``, or -1 for an
    error left out) for each status ``e``, and ``reason`` (index into ``reasons``, or -1 if not told) for each status
    ``f``. ``seed`` is that of all its episodes; where they differ, the column ``seeds``
    stands in its place. What is not recorded is null. ``alone`` lists the episodes whose seed or initial state are not
    the baseline's, which are not paired.

    Args:
        records: sorted as ``RunDirectory.records`` returns them.
        baseline: the name of the variant that the others are compared with.
        divergence: strips of episodes, as ``page.divergence.strip_data`` returns them; it becomes ``divergence``.
    """
    configurations: dict[str, int] = {}
    tasks: dict[int, int] = {}
    described: list[list[str]] = []
    errors = _Errors()
    reasons: dict[str, int] = {}
    reference = {(one.task_id, one.episode): one for one in records if one.configuration == baseline}
    blocks = []
    for (configuration, task), group in groupby(records, key=lambda one: (one.configuration, one.task_id)):
        episodes = list(group)
        first = episodes[0]
        if task not in tasks:
            tasks[task] = len(tasks)
            described.append([first.task_key, first.task_name, first.instruction])
        block = {
            "c": configurations.setdefault(configuration, len(configurations)),
            "t": tasks[task],
            "max": first.stated("max_steps"),
            **_seeds(episodes),
            "episode": [one.episode for one in episodes],
            "alone": [
                one.episode
                for one in episodes
                if (twin := reference.get((one.task_id, one.episode))) and not same_episode(one, twin)
            ],
            "status": "".join(_LETTERS[one.status] for one in episodes),
            "steps": [one.stated("steps") for one in episodes],
            "replans": [one.stated("replans") for one in episodes],
            "tenths": [_tenths(one) for one in episodes],
        }
        marks = [_video(one) for one in episodes]
        block["video"] = "".join(mark for mark, _ in marks)
        block["paths"] = [path for mark, path in marks if mark == "?"]
        block["reason"] = [
            -1 if one.reason is None else reasons.setdefault(one.reason, len(reasons))
            for one in episodes
            if one.status == FAILURE
        ]
        block["error"] = [errors.add(one.error) for one in episodes if one.error is not None]
        blocks.append(block)
    content = {
        "configurations": list(configurations),
        "tasks": described,
        "baseline": configurations.get(baseline, -1),
        "blocks": blocks,
        "reasons": [words(name) for name in reasons],
        "errors": errors.kept,
        "divergence": divergence,
    }
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    # In a script element only "</script" and "<!--" have a meaning; without "<" neither can occur.
    return Markup(text.replace("<", "\\u003c"))


def _seeds(episodes: Sequence[EpisodeRecord]) -> dict[str, Any]:
    seeds = [one.stated("seed") for one in episodes]
    return {"seed": seeds[0]} if len(set(seeds)) == 1 else {"seeds": seeds}


def _tenths(record: EpisodeRecord) -> int | None:
    seconds = record.stated("total_s")
    return None if seconds is None else round(10 * seconds)


class _Errors:
    """Errors by index, without repetitions."""

    def __init__(self) -> None:
        self.kept: list[tuple[str, str, str]] = []
        self._index: dict[tuple[str, str, str], int] = {}
        self._size = 0

    def add(self, error: dict[str, str]) -> int:
        """Return the error's index, or -1 if there is no room for it."""
        traceback = str(error.get("traceback", ""))
        if len(traceback) > MAX_TRACEBACK:
            traceback = f"[…]\n{traceback[-MAX_TRACEBACK:]}"
        key = str(error.get("type", "")), str(error.get("message", ""))[:MAX_TRACEBACK], traceback
        if key not in self._index:
            size = sum(map(len, key))
            if self._size + size > MAX_ERRORS:
                return -1
            self._size += size
            self._index[key] = len(self.kept)
            self.kept.append(key)
        return self._index[key]


def _video(record: EpisodeRecord) -> tuple[str, str | None]:
    path = record.video
    if path is None or not is_inside(path):
        return "-", None
    usual = f"videos/{record.configuration}/{record.task_key}_ep{record.episode:03d}_{record.status}.mp4"
    return ("+", None) if path == usual else ("?", path)


def time_per_configuration(records: Sequence[EpisodeRecord]) -> dict[str, dict[str, Any]]:
    """Return sums by configuration: ``episodes``, ``replans``, ``sim_s``, ``render_s``, ``infer_s``, ``total_s``.

    A sum is None if an episode's part of it is not recorded.
    """
    sums: dict[str, dict[str, Any]] = {}
    for record in records:
        one = sums.setdefault(record.configuration, dict.fromkeys(_SUMS, 0))
        one["episodes"] += 1
        for name in _SUMS[1:]:
            more = record.stated(name)
            one[name] = None if more is None or one[name] is None else one[name] + more
    return sums


_SUMS = ("episodes", "replans", "sim_s", "render_s", "infer_s", "total_s")
