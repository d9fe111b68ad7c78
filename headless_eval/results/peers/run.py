"""Files of other evaluators as a run to read: each file is a variant."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from headless_eval.errors import UserError
from headless_eval.results.peers import lerobot, vla_eval
from headless_eval.results.peers.found import Found, FoundTask
from headless_eval.results.peers.naming import variant_names
from headless_eval.results.peers.record import record_of
from headless_eval.results.record import EpisodeRecord

ONLY = "policy"
"""The name of the variant of a file that stands alone."""

_MARKS = (lerobot.FILE, vla_eval.FILES)


class PeerRun:
    """One file or several, for reading, as ``results.reading.Readable``.

    Args:
        files: the content of the files by the variant's name; the first is the baseline.
        assume_paired: the user says that episodes of the same task and number are the same where no seed is recorded.

    Attributes:
        path: the first file.

    Raises:
        UserError: the files are of several evaluators or suites.
    """

    is_running = False

    def __init__(self, files: Mapping[str, Found], *, assume_paired: bool = False) -> None:
        self._files = dict(files)
        first, *others = files.values()
        self.path = first.path
        self._assumed = assume_paired
        for other in others:
            if (other.evaluator, other.suite) != (first.evaluator, first.suite):
                raise UserError(
                    f"{first.path} is {first.suite} of {first.evaluator}, {other.path} {other.suite} of "
                    f"{other.evaluator}: nothing compares"
                )

    @property
    def variants(self) -> list[str]:
        """The names of the files, in their order."""
        return list(self._files)

    @property
    def baseline(self) -> str:
        """The name of the first file."""
        return self.variants[0]

    @property
    def planned(self) -> int:
        """The number of episodes of each variant that were to run."""
        return sum(task.planned for task in self._tasks.values())

    @cached_property
    def manifest(self) -> Mapping[str, Any]:
        """What is known of the evaluation: tasks, variants, what is missing, and what the file says of itself."""
        first = next(iter(self._files.values()))
        tasks = [
            {"id": number, "key": task.key, "name": task.name}
            for number, task in enumerate(self._tasks.values())
        ]
        metrics = (name for one in first.episodes for name in one.metrics or ())
        seeds = {one.seed for found in self._files.values() for one in found.episodes}
        return {
            "suite": first.suite,
            "tasks": tasks,
            "variants": [{"name": name} for name in self._files],
            "baseline": self.baseline,
            "episodes": max(task.planned for task in self._tasks.values()),
            "seed": seeds.pop() if len(seeds) == 1 else None,
            "status": "finished",
            "read_from": {name: str(found.path) for name, found in self._files.items()},
            "notes": list(self.notes),
            "metrics": dict.fromkeys(metrics, ""),
            **first.about,
        }

    def records(self) -> list[EpisodeRecord]:
        """Return the episodes in order of variant, task and index."""
        numbers = {key: number for number, key in enumerate(self._tasks)}
        found = [
            record_of(one, self._tasks[one.task], numbers[one.task], name, self._assumed)
            for name, found in self._files.items()
            for one in found.episodes
        ]
        order = {name: index for index, name in enumerate(self._files)}
        return sorted(found, key=lambda one: (order[one.configuration], one.task_id, one.episode))

    def stopping(self) -> None:
        """Return None: no other evaluator stops by our sequential test."""
        return

    def actions(self, record: EpisodeRecord) -> np.ndarray | None:
        """Return a record's executed actions, float32 (steps, dims), or None if they were not recorded.

        Raises:
            UserError: the file is damaged where they are.
        """
        found = self._files[record.configuration]
        try:
            return found.actions(record.task_key, record.episode)
        except ValueError as error:
            raise UserError(f"{found.path}: the actions cannot be read: {error}") from None

    @cached_property
    def _tasks(self) -> dict[str, FoundTask]:
        """The tasks of all files by their key; each with the most episodes that one of the files has planned."""
        tasks: dict[str, FoundTask] = {}
        for found in self._files.values():
            for task in found.tasks:
                known = tasks.get(task.key)
                tasks[task.key] = task if known is None or known.planned < task.planned else known
        return tasks

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the results has to know; sentences without their full stops."""
        files = list(self._files.values())
        missing = dict.fromkeys(what for found in files for what in found.missing)
        notes = [f"Read from {files[0].evaluator}, which does not record {', '.join(missing)}"]
        if "seeds" in missing:
            notes.append(
                "Episodes of the same task and number are assumed to be the same (--assume-paired), which no seed shows"
                if self._assumed
                else "Without seeds nothing shows that two files have the same episodes: they are compared as "
                "independent samples (--assume-paired says that they are the same)"
            )
        for name, found in self._files.items():
            notes += [f"{name}: {note}" if len(files) > 1 else note for note in found.notes]
        return tuple(notes)


def is_named_like_one(name: str) -> bool:
    """Return whether a file is named as other evaluators name theirs."""
    return any(fnmatch(name, mark) for mark in _MARKS)


def find_file(path: Path) -> Path | None:
    """Return the file of another evaluator at a path: the file itself, or the only one in a folder; None if the
    path leads to neither.

    Raises:
        UserError: a folder has several such files.
    """
    if path.is_dir():
        found = sorted(one for mark in _MARKS for one in path.glob(mark))
        if len(found) > 1:
            raise UserError(f"{path} holds {', '.join(one.name for one in found)}: name one of them")
        return found[0] if found else None
    return path if path.is_file() else None


def open_peers(named: Sequence[tuple[str | None, Path]], *, assume_paired: bool = False) -> PeerRun:
    """Open files of other evaluators as one run.

    Args:
        named: each file with its name, or None for a name from its path.
        assume_paired: as of ``PeerRun``.

    Raises:
        UserError: a file cannot be read or was not written by another evaluator, or files do not belong together.
    """
    names = variant_names(named) if len(named) > 1 else [named[0][0] or ONLY]
    files = [_read(path) for _, path in named]
    return PeerRun(dict(zip(names, files, strict=True)), assume_paired=assume_paired)


def _read(path: Path) -> Found:
    try:
        with open(path, "rb") as file:
            recording = file.read(len(vla_eval.MAGIC)) == vla_eval.MAGIC
        return vla_eval.read(path) if recording else lerobot.read(path)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None
    except ValueError as error:
        raise UserError(
            f"{path} is neither {lerobot.FILE} of lerobot-eval nor a recording of vla-eval, or is damaged: {error}"
        ) from None
