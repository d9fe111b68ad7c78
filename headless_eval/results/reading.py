"""Runs to read, whoever wrote them: the folder of a run, or files of other evaluators."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from headless_eval.errors import UserError
from headless_eval.results.directory import RunDirectory, holds_run
from headless_eval.results.peers import find_file, open_peers
from headless_eval.results.peers.naming import split_name
from headless_eval.results.record import EpisodeRecord
from headless_eval.results.stopping import Stopping


class Readable(Protocol):
    """What is read of a run, whoever wrote it."""

    @property
    def path(self) -> Path:
        """Its folder, or its first file."""

    @property
    def manifest(self) -> Mapping[str, Any]:
        """What is known of it beside its episodes."""

    @property
    def variants(self) -> list[str]:
        """The variants' names, in order."""

    @property
    def baseline(self) -> str:
        """The variant that the others are compared with."""

    @property
    def planned(self) -> int:
        """The number of episodes of each variant that were to run."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What has to be known of results that another evaluator wrote; sentences without their full stops."""

    @property
    def is_running(self) -> bool:
        """Whether a process of this machine is writing to it."""

    def records(self) -> list[EpisodeRecord]:
        """Return the last record of each trial, in order of variant, task and episode."""

    def stopping(self) -> Stopping | None:
        """Return the tests of a sequential run; None if the run is not sequential."""

    def actions(self, record: EpisodeRecord) -> np.ndarray | None:
        """Return a record's executed actions, float32 (steps, dims), or None if they are not known."""


def open_run(path: str | Path, *, assume_paired: bool = False) -> Readable:
    """Open a run to read.

    Args:
        path: its folder; or ``eval_info.json`` of lerobot-eval, a recording of vla-eval, or a folder with one of them.
        assume_paired: in files of other evaluators, episodes of the same task and number are the same where no seed is
            recorded.

    Raises:
        UserError: the path leads to no run, or to a damaged one.
    """
    return open_runs([str(path)], assume_paired=assume_paired)


def open_runs(paths: Sequence[str | Path], *, assume_paired: bool = False) -> Readable:
    """Open a run to read, or several files of other evaluators as the variants of one; the first is the baseline.

    Args:
        paths: one as of ``open_run``, or several files or folders with one, each ``PATH`` or ``NAME=PATH``.
        assume_paired: as of ``open_run``.

    Raises:
        UserError: a path leads to no run, or to a damaged one; or one of several leads to no other evaluator's file.
    """
    named = [split_name(str(path)) for path in paths]
    files = [None if holds_run(path) else find_file(path) for _, path in named]
    if len(named) == 1 and files[0] is None:
        return RunDirectory.open(named[0][1])
    found = []
    for (name, path), file in zip(named, files, strict=True):
        if file is None:
            raise UserError(
                f"{path} is no file of lerobot-eval or vla-eval: give one run's folder, or several such files"
            )
        found.append((name, file))
    return open_peers(found, assume_paired=assume_paired)
