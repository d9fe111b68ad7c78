"""How a run is getting on: bars on a terminal, plain lines elsewhere."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from time import monotonic
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from headless_eval.results.record import ERROR, EpisodeRecord

LINE_INTERVAL = 5.0
"""Seconds between two plain lines at least, but for those that end a configuration."""


@dataclass
class Tally:
    """Counts of the episodes of one configuration, or of the whole run."""

    total: int
    done: int = 0
    successes: int = 0
    errors: int = 0
    started: float = field(default_factory=lambda: monotonic())

    def add(self, record: EpisodeRecord) -> None:
        """Count an episode that has ended."""
        self.done += 1
        self.successes += record.success
        self.errors += record.status == ERROR

    def outcome(self) -> str:
        """Return the success rate so far, over the episodes that were no errors, and the number of errors."""
        judged = self.done - self.errors
        parts = [f"{self.successes}/{judged} success ({self.successes / judged:.0%})"] if judged else []
        if self.errors:
            parts.append(f"{self.errors} error{'s' if self.errors > 1 else ''}")
        return ", ".join(parts)

    def pace(self) -> str:
        """Return the episodes a minute so far."""
        return f"{60 * self.done / max(monotonic() - self.started, 1e-9):.1f} episodes/min"

    def time_left(self) -> str:
        """Return how long the rest takes at the pace so far."""
        if not self.done:
            return ""
        return f"{duration((monotonic() - self.started) / self.done * (self.total - self.done))} left"


class RunProgress(AbstractContextManager["RunProgress"]):
    """Shows each configuration as its episodes end, and the time left for the run.

    Args:
        console: where to; bars if it is a terminal, otherwise a line every few seconds.
        configurations: the names of the configurations, in the order in which they run.
        episodes: how many episodes each has.
    """

    def __init__(self, console: Console, configurations: Sequence[str], episodes: int) -> None:
        self._console = console
        self._waiting = list(configurations)
        self._episodes = episodes
        self._width = max((len(name) for name in configurations), default=0)
        self._run = Tally(episodes * len(configurations))
        self._current = Tally(episodes)
        self._last_line = monotonic()
        self._bars = _bars(console) if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._bars:
            self._bars.add_task("", total=self._episodes, text="")
            self._bars.add_task("all", total=self._run.total, text="")
            self._begin()
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bars:
            self._bars.stop()

    def update(self, record: EpisodeRecord) -> None:
        """Take note of an episode that has ended."""
        self._current.add(record)
        self._run.add(record)
        complete = self._current.done == self._current.total
        line = f"{record.configuration:{self._width}}  {self._current.done}/{self._current.total} episodes"
        facts = f"{self._current.outcome()}, {self._current.pace()}"
        if self._bars:
            current, run = self._bars.task_ids
            self._bars.update(current, completed=self._current.done, text=facts)
            self._bars.update(run, completed=self._run.done, text=self._run.time_left())
            if complete:
                self._print(f"{line}, {facts}")
        elif complete or monotonic() - self._last_line >= LINE_INTERVAL:
            self._last_line = monotonic()
            self._print(f"{line}, {facts}, {self._run.time_left()}")
        if complete:
            self._begin()

    def _begin(self) -> None:
        """Go on to the next configuration."""
        if not self._waiting:
            return
        name = self._waiting.pop(0)
        self._current = Tally(self._episodes)
        if self._bars:
            self._bars.reset(self._bars.task_ids[0], description=f"{name:{self._width}}", text="")

    def _print(self, line: str) -> None:
        self._console.print(line, highlight=False, soft_wrap=True)


def duration(seconds: float) -> str:
    """Return a duration for people: ``3:07``, ``1:02:03``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _bars(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[text]}"),
        console=console,
        refresh_per_second=4,
        transient=True,
    )
