"""What a reader finds in another evaluator's file."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class FoundTask:
    """A task of a file.

    Args:
        key: its name in tables and file names, the same in all files that have the task.
        name: its name for people.
        planned: the number of its episodes that were to run.
        max_steps: control steps allowed, or None.
    """

    key: str
    name: str
    planned: int
    max_steps: int | None = None


@dataclass(frozen=True)
class FoundEpisode:
    """An episode of a file; None for what it does not record.

    Args:
        task: the task's key.
        episode: the episode's index, from 0.
        status: ``success``, ``failure`` or ``error``.
        seed: what the episode was seeded with.
        steps: control steps taken.
        seconds: of the wall clock.
        metrics: numbers by name.
        error: as in a record.
    """

    task: str
    episode: int
    status: str
    seed: int | None = None
    steps: int | None = None
    seconds: float | None = None
    metrics: Mapping[str, float] | None = None
    error: dict[str, str] | None = None


@dataclass(frozen=True)
class Found:
    """The content of a file.

    Args:
        path: the file.
        evaluator: the program that wrote it.
        suite: a name for what ran, fit for file names; only files of the same suite are compared.
        tasks: in order.
        episodes: in any order, each once.
        missing: what the file does not record, in words.
        notes: what a reader of the results has to know beside that; sentences without their full stops.
        about: further sections of the manifest.
        actions: returns an episode's executed actions, float32 (steps, dims), by task's key and index; None if
            the file does not hold them.

    Raises:
        ValueError: there is no episode, or a task or an episode is there twice.
    """

    path: Path
    evaluator: str
    suite: str
    tasks: Sequence[FoundTask]
    episodes: Sequence[FoundEpisode]
    missing: Sequence[str]
    notes: Sequence[str] = ()
    about: Mapping[str, Any] = field(default_factory=dict)
    actions: Callable[[str, int], np.ndarray | None] = lambda task, episode: None

    def __post_init__(self) -> None:
        if not self.episodes:
            raise ValueError("it has no episode")
        tasks = Counter(task.key for task in self.tasks)
        episodes = Counter((one.task, one.episode) for one in self.episodes)
        if twice := next((task for task, count in tasks.items() if count > 1), None):
            raise ValueError(f"the task {twice} is there twice")
        if again := next((one for one, count in episodes.items() if count > 1), None):
            raise ValueError(f"episode {again[1]} of {again[0]} is there twice")
