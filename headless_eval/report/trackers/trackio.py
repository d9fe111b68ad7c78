"""Trackio: a local database with a dashboard; its own environment variables (TRACKIO_DIR, TRACKIO_SPACE_ID) hold."""

import contextvars
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from headless_eval.report.trackers import PROJECT, TRACKERS, TrackedRun, TrackedVideo


@TRACKERS.register("trackio")
class Trackio:
    """A run of Trackio, apart from any that the process has open."""

    package = "trackio"

    def __init__(self, run: TrackedRun) -> None:
        import trackio

        self._trackio = trackio
        # Trackio keeps the present run in a context variable, which has to stay the caller's.
        self._run = contextvars.copy_context().run(
            lambda: trackio.init(
                project=os.environ.get("TRACKIO_PROJECT", PROJECT),
                name=f"{run.name}-{run.key}",
                config=dict(run.settings),
                resume="allow",
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )
        )

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Send numbers, in a thread of Trackio's."""
        self._run.log(dict(values), step=step)

    def finish(self, page: Path, videos: Sequence[TrackedVideo]) -> None:
        """Send the page and the videos."""
        media: dict[str, object] = {f"videos/{one.name}": self._trackio.Video(one.path) for one in videos}
        media["report"] = self._trackio.Html(page.read_text("utf-8"))
        self._run.log(media)
        self._run.finish()
