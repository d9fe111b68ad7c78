"""Progress of a run: bars on a terminal, plain lines elsewhere, or JSON lines for programs."""

import json
import sys
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from time import monotonic
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from headless_eval.report.statistics import wilson_interval
from headless_eval.results.record import ERROR, EpisodeRecord
from headless_eval.shared.text import plural

LINE_INTERVAL = 5.0
"""Seconds between two plain lines at least, but for those that end a configuration."""


@dataclass
class Tally:
    """Counts of the episodes of one configuration, or of the whole run.

    An error that is tried again is replaced by what the next attempt brings.
    """

    total: int
    done: int = 0
    before: int = 0
    successes: int = 0
    broken: set[tuple[str, int, int]] = field(default_factory=set)
    started: float | None = None

    def add(self, record: EpisodeRecord, *, before: bool = False) -> None:
        """Count an episode that has ended; ``before``: in an earlier session, so that it sets no pace."""
        self.done += record.trial not in self.broken
        self.before += before
        self.successes += record.success
        self.broken.discard(record.trial)
        if record.status == ERROR:
            self.broken.add(record.trial)

    def start(self) -> None:
        """Begin to measure the pace, unless it has begun."""
        self.started = monotonic() if self.started is None else self.started

    @property
    def errors(self) -> int:
        """Episodes whose last attempt was an error."""
        return len(self.broken)

    def outcome(self) -> str:
        """Return the success rate so far with Wilson's 95 % interval, over the episodes without error, and errors."""
        judged = self.done - self.errors
        parts = []
        if judged:
            low, high = wilson_interval(self.successes, judged)
            rate = f"{self.successes / judged:.0%} [{100 * low:.0f}, {100 * high:.0f}]"
            parts.append(f"{self.successes}/{judged} success ({rate})")
        if self.errors:
            parts.append(plural(self.errors, "error"))
        return ", ".join(parts)

    @property
    def per_minute(self) -> float:
        """Episodes a minute so far."""
        began = monotonic() if self.started is None else self.started
        return 60 * (self.done - self.before) / max(monotonic() - began, 1e-9)

    def pace(self) -> str:
        """Return the episodes a minute so far."""
        return f"{self.per_minute:.1f} episodes/min"

    @property
    def seconds_left(self) -> float | None:
        """How long the rest takes at the pace so far; None without a pace."""
        if self.done == self.before:
            return None
        return 60 * (self.total - self.done) / max(self.per_minute, 1e-9)

    def time_left(self) -> str:
        """Return how long the rest takes at the pace so far."""
        left = self.seconds_left
        return "" if left is None else f"{duration(left)} left"


class RunProgress(AbstractContextManager["RunProgress"]):
    """Shows each configuration as its episodes end, and the time left for the run.

    Args:
        console: where to; bars if it is a terminal, otherwise a line every few seconds.
        configurations: the names of the configurations, in the order in which they run.
        episodes: how many episodes each has.
        before: the records of earlier sessions of a run that is continued.
    """

    def __init__(
        self,
        console: Console,
        configurations: Sequence[str],
        episodes: int,
        before: Iterable[EpisodeRecord] = (),
    ) -> None:
        self._console = console
        self._width = max((len(name) for name in configurations), default=0)
        self._run = Tally(episodes * len(configurations))
        self._tallies = {name: Tally(episodes) for name in configurations}
        for record in before:
            if record.configuration in self._tallies:
                self._run.add(record, before=True)
                self._tallies[record.configuration].add(record, before=True)
        self._last_line = monotonic()
        self._bars = _bars(console) if console.is_terminal else None
        wilson_interval(1, 1)  # what it needs takes a second to load: not in the middle of the run

    def __enter__(self) -> Self:
        if self._bars:
            self._bars.add_task("", total=0, text="")
            self._bars.add_task("all", total=self._run.total, completed=self._run.done, text="")
            self._bars.start()
        self._run.start()
        self._begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bars:
            self._bars.stop()

    def update(self, record: EpisodeRecord) -> None:
        """Take note of an episode that has ended."""
        tally = self._tallies[record.configuration]
        tally.start()
        tally.add(record)
        self._run.add(record)
        complete = tally.done == tally.total
        line = f"{record.configuration:{self._width}}  {tally.done}/{tally.total} episodes"
        facts = f"{tally.outcome()}, {tally.pace()}"
        if self._bars:
            current, run = self._bars.task_ids
            name = f"{record.configuration:{self._width}}"
            self._bars.update(current, description=name, completed=tally.done, total=tally.total, text=facts)
            errors = f", {self._run.errors} errors" if self._run.errors else ""
            text = f"{self._run.pace()}, {self._run.time_left()}{errors}"
            self._bars.update(run, completed=self._run.done, text=text)
            if complete:
                self._print(f"{line}, {facts}")
        elif complete or monotonic() - self._last_line >= LINE_INTERVAL:
            self._last_line = monotonic()
            self._print(f"{line}, {facts}, {self._run.time_left()}")
        if complete:
            self._begin()

    def stop(self, configuration: str, reason: str, left_out: int) -> None:
        """Take note that a configuration goes without its last ``left_out`` episodes, and why."""
        self._tallies[configuration].total -= left_out
        self._run.total -= left_out
        if self._bars:
            self._bars.update(self._bars.task_ids[1], total=self._run.total)
        self._print(f"{configuration:{self._width}}  {reason}; {left_out} episodes left out")
        self._begin()

    def _begin(self) -> None:
        """Start the clock of the first configuration that lacks episodes."""
        for name, tally in self._tallies.items():
            if tally.done < tally.total:
                tally.start()
                if self._bars:
                    current = self._bars.task_ids[0]
                    name = f"{name:{self._width}}"
                    self._bars.update(
                        current,
                        description=name,
                        completed=tally.done,
                        total=tally.total,
                        text=tally.outcome(),
                    )
                return

    def _print(self, line: str) -> None:
        self._console.print(line, highlight=False, soft_wrap=True)


class JsonProgress(AbstractContextManager["JsonProgress"]):
    """Prints a JSON object a line: ``start``, then an ``episode`` for each that ends.

    Args:
        total: how many episodes the run has.
        before: the records of earlier sessions.
    """

    def __init__(self, total: int, before: Iterable[EpisodeRecord] = ()) -> None:
        self._run = Tally(total)
        for record in before:
            self._run.add(record, before=True)

    def __enter__(self) -> Self:
        self._run.start()
        print_event("start", done=self._run.done, total=self._run.total)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return None

    def update(self, record: EpisodeRecord) -> None:
        """Take note of an episode that has ended."""
        self._run.add(record)
        error = None if record.error is None else [record.error.get(name) for name in ("type", "message")]
        print_event(
            "episode",
            configuration=record.configuration,
            task=record.task_key,
            episode=record.episode,
            status=record.status,
            reason=record.reason,
            steps=record.steps,
            error=error and ": ".join(map(str, error)),
            done=self._run.done,
            total=self._run.total,
            successes=self._run.successes,
            errors=self._run.errors,
            episodes_per_minute=round(self._run.per_minute, 2),
            seconds_left=round(self._run.seconds_left or 0.0, 1),
        )

    def stop(self, configuration: str, reason: str, left_out: int) -> None:
        """Take note that a configuration goes without its last ``left_out`` episodes, and why."""
        self._run.total -= left_out
        print_event(
            "stop", configuration=configuration, reason=reason, left_out=left_out, total=self._run.total
        )


def print_event(event: str, **facts: Any) -> None:
    """Print an event as a JSON line on standard output."""
    print(json.dumps({"event": event, **facts}), file=sys.stdout, flush=True)


def duration(seconds: float) -> str:
    """Return a duration for people: ``3:07``, ``1:02:03``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _bars(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TextColumn("{task.fields[text]}"),
        console=console,
        refresh_per_second=4,
        transient=True,
    )
