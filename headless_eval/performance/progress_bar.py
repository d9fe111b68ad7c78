"""Progress of measurements: a bar on a terminal, a line every few seconds elsewhere."""

from contextlib import AbstractContextManager
from time import monotonic
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from headless_eval.runs.progress import LINE_INTERVAL, duration


class ProgressBar(AbstractContextManager["ProgressBar"]):
    """Display of the work done, the current step and the time left.

    Args:
        console: the console to print to.
        total: the units of work.
    """

    def __init__(self, console: Console, total: float) -> None:
        self._console, self._total, self._done = console, total, 0.0
        self._began = self._last_line = monotonic()
        self._bar = None
        if console.is_terminal and not console.quiet:
            columns = (BarColumn(bar_width=20), TaskProgressColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, TextColumn("{task.description}"), console=console, transient=True)
            self._bar.add_task("", total=total)

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    def expect(self, total: float) -> None:
        """Set the units of work once they are known, and restart the clock."""
        self._total, self._done, self._began = total, 0.0, monotonic()
        if self._bar:
            self._bar.reset(self._bar.task_ids[0], total=total)

    def say(self, text: str) -> None:
        """Show the step that begins."""
        if self._bar:
            self._bar.update(self._bar.task_ids[0], description=text)
        elif monotonic() - self._last_line >= LINE_INTERVAL:
            self._last_line = monotonic()
            self._console.print(f"{text}{self._left()}", highlight=False, soft_wrap=True)

    def advance(self, units: float = 1) -> None:
        """Count work that is done or left out."""
        self._done += units
        if self._bar:
            self._bar.update(self._bar.task_ids[0], completed=self._done)

    def _left(self) -> str:
        if not self._done:
            return ""
        rest = (monotonic() - self._began) * (self._total - self._done) / self._done
        return f" ({self._done / self._total:.0%}, {duration(max(rest, 0))} left)"
