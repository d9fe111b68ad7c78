"""Tracking of a run: what is sent when; a tracker that fails is left out, and never costs the run anything."""

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from time import monotonic
from typing import Any

from headless_eval.report.statistics import wilson_interval
from headless_eval.report.summary import Summary
from headless_eval.report.trackers import TrackedRun, TrackedVideo, Tracker, find_trackers, tracked_run
from headless_eval.results import ERROR, EpisodeRecord, RunDirectory
from headless_eval.shared.program import command

INTERVAL = 5.0
"""Seconds from one report of the rates to the next while a run is under way."""

Waiting = Callable[[str], AbstractContextManager[Any]]


class Tracking:
    """The trackers of a run: they get the rates while it is under way, and everything else at the end.

    Args:
        names: the trackers' names.
        directory: the run's.
        waiting: returns a context around calls that may take long, such as a line that says so.

    Raises:
        UserError: a tracker is unknown, or its package is not installed.
    """

    def __init__(
        self, names: Sequence[str], directory: RunDirectory, waiting: Waiting = lambda text: nullcontext()
    ) -> None:
        self._folder, self._waiting = directory.path, waiting
        self._open: dict[str, Tracker] = {}
        self._status: dict[tuple[str, int, int], str] = {}
        self._counts: dict[str, Counter[str]] = {}
        self._last = -INTERVAL
        found = find_trackers(names)
        if not found:
            return
        run = tracked_run(directory.path, directory.manifest)
        for name, tracker in found.items():
            with waiting(f"Opening {name}"):
                self._contain(name, self._begin, name, tracker, run)
        for record in directory.records():
            self._count(record)

    def update(self, record: EpisodeRecord) -> None:
        """Take note of an episode that has ended."""
        if not self._open:
            return
        self._count(record)
        if monotonic() - self._last >= INTERVAL:
            self._last = monotonic()
            values: dict[str, float] = {}
            for configuration, counts in self._counts.items():
                judged = counts.total() - counts[ERROR]
                interval = wilson_interval(counts["success"], judged) if judged else (None, None)
                rate = counts["success"] / judged if judged else None
                values |= _rates(configuration, rate, interval, judged, counts[ERROR])
            self._log(values, len(self._status))

    def finish(self, directory: RunDirectory, summary: Summary) -> None:
        """Send the final numbers, the page and the videos; an interrupt leaves out what is not sent yet."""
        if not self._open:
            return
        self._log(values_of(summary), summary.episodes + summary.errors)
        page, videos = directory.path / "report.html", videos_of(directory)
        for name, tracker in list(self._open.items()):
            try:
                with self._waiting(f"Sending to {name}"):
                    self._contain(name, tracker.finish, page, videos)
            except KeyboardInterrupt:
                self._tell(name, "was interrupted")

    def _count(self, record: EpisodeRecord) -> None:
        counts = self._counts.setdefault(record.configuration, Counter())
        if (before := self._status.get(record.trial)) is not None:  # an error that was tried again
            counts[before] -= 1
        self._status[record.trial] = record.status
        counts[record.status] += 1

    def _log(self, values: dict[str, float], step: int) -> None:
        for name, tracker in list(self._open.items()):
            self._contain(name, tracker.log, values, step)

    def _begin(self, name: str, tracker: type[Tracker], run: TrackedRun) -> None:
        if (run.folder / name).is_symlink():  # where trackers keep their own files
            raise OSError(f"{run.folder / name} is a link, and links are not followed")
        self._open[name] = tracker(run)

    def _contain(self, name: str, call: Callable[..., Any], *arguments: Any) -> None:
        try:
            with redirect_stdout(sys.stderr):  # what is printed there is the run's own
                call(*arguments)
        except Exception as error:
            self._open.pop(name, None)
            lines = str(error).strip().splitlines() or [""]
            self._tell(name, f"failed ({type(error).__name__}: {lines[0]})")

    def _tell(self, name: str, what: str) -> None:
        again = command("report", self._folder, "--track", name)
        print(
            f"headless-eval: {name} {what}; the run itself loses nothing. To send it when it has ended: {again}",
            file=sys.stderr,
        )


def track_finished(names: Sequence[str], directory: RunDirectory, summary: Summary, waiting: Waiting) -> None:
    """Send a run that has ended to trackers.

    Raises:
        UserError: a tracker is unknown, or its package is not installed.
    """
    Tracking(names, directory, waiting).finish(directory, summary)


def values_of(summary: Summary) -> dict[str, float]:
    """Return a summary's numbers by name, ``<variant>/success_rate`` and so on; what is not known is left out."""
    values: dict[str, float] = {}
    for row in summary.overall:
        interval = row.interval or (None, None)
        values |= _rates(row.configuration, row.rate, interval, row.episodes, row.errors)
        if (one := row.comparison) is not None:
            low, high = one.interval
            names = ("difference", "difference_low", "difference_high", "p")
            p_value = one.p_value if one.p_holm is None else one.p_holm
            numbers = (one.difference, low, high, p_value)
            values |= {
                f"{row.configuration}/{name}": value for name, value in zip(names, numbers, strict=True)
            }
    for change in summary.outcomes:
        values[f"{change.configuration}/{change.outcome.name}"] = change.mean
    for failures in summary.failures:
        for reason, count in failures.reasons.items():
            values[f"{failures.configuration}/{reason.replace(' ', '_')}"] = count
    return values


def videos_of(directory: RunDirectory) -> list[TrackedVideo]:
    """Return the videos that a run has kept."""
    found = []
    for record in directory.records():
        path = directory.video(record)
        if path is not None:
            name = f"{record.configuration}/{record.task_key}_ep{record.episode:03d}_{record.status}"
            found.append(TrackedVideo(name, path))
    return found


def _rates(
    configuration: str, rate: float | None, interval: Any, episodes: int, errors: int
) -> dict[str, float]:
    low, high = interval
    named = {"success_rate": rate, "success_rate_low": low, "success_rate_high": high}
    values = {name: value for name, value in named.items() if value is not None}
    values |= {"episodes": episodes, "errors": errors}
    return {f"{configuration}/{name}": value for name, value in values.items()}
