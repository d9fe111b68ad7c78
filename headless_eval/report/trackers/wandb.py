"""Weights & Biases; its own environment variables (WANDB_MODE=offline, WANDB_PROJECT, WANDB_ENTITY) hold."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from headless_eval.report.trackers import PROJECT, TRACKERS, TrackedRun, TrackedVideo


@TRACKERS.register("wandb")
class Wandb:
    """A run of Weights & Biases, apart from any that the process has open; its files are in the run's folder."""

    package = "wandb"

    def __init__(self, run: TrackedRun) -> None:
        import wandb

        self._wandb = wandb
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            id=run.key,
            name=run.name,
            dir=run.folder,
            config=dict(run.settings),
            resume="allow",
            reinit="create_new",
            settings=wandb.Settings(console="off", silent=True),
        )

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Send numbers; wandb does it in a process of its own."""
        self._run.log(dict(values) | {"episodes": step})
        self._run.summary.update(dict(values))

    def finish(self, page: Path, videos: Sequence[TrackedVideo]) -> None:
        """Send the page as a panel, and the videos."""
        media: dict[str, object] = {f"videos/{one.name}": self._wandb.Video(str(one.path)) for one in videos}
        # The page is shown in a frame; wandb's own style must not be written into it.
        media["report"] = self._wandb.Html(page.read_text("utf-8"), inject=False, data_is_not_path=True)
        self._run.log(media)
        self._run.finish()
