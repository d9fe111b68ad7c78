"""A run's rollouts as a LeRobot dataset: every episode is simulated again from its recorded actions."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np

from headless_eval.errors import UserError
from headless_eval.export.lerobot_dataset import DatasetWriter
from headless_eval.export.lerobot_v21 import WriterV21
from headless_eval.export.lerobot_v30 import WriterV30
from headless_eval.results import ERROR, EpisodeRecord, RunDirectory
from headless_eval.rollout.replay import Frame, name_of, replay
from headless_eval.rollout.video import VideoError
from headless_eval.runs.evaluator import open_simulator
from headless_eval.runs.progress import LINE_INTERVAL, duration
from headless_eval.runs.resume import config_from
from headless_eval.runs.tasks import tasks_of
from headless_eval.shared.files import new_folder
from headless_eval.shared.suggest import unknown
from headless_eval.shared.terminal import new_console
from headless_eval.sims.registry import find_suite

_WRITERS: dict[str, type[DatasetWriter]] = {writer.version: writer for writer in (WriterV30, WriterV21)}


def export_lerobot(
    folder: Path, output: Path, configurations: Sequence[str] = (), version: str = WriterV30.version
) -> Path:
    """Write the episodes of some variants that ended without an error as a LeRobot dataset.

    Args:
        folder: of the run.
        output: of the dataset; if it exists, it is empty. It is there whole or not at all.
        configurations: the variants' names; by default the baseline.
        version: of LeRobot's layout: ``"v3.0"`` or ``"v2.1"``.

    Returns:
        The dataset's folder.

    Raises:
        UserError: the run or a configuration does not exist, no episode can be exported, ``output`` exists, an
            episode that comes out otherwise than its record says, or the dataset cannot be written.
    """
    _check_free(output)
    run = RunDirectory.open(folder)
    config = config_from(run.manifest, folder)
    configurations = configurations or (run.baseline,)
    for name in configurations:
        if name not in run.variants:
            raise unknown("configuration", name, run.variants)
    records = [
        record
        for record in run.records()
        if record.status != ERROR and record.configuration in configurations
    ]
    if not records:
        raise UserError(f"{folder} has no episode without an error of {', '.join(configurations)} to export")
    suite = find_suite(config.suite)
    tasks = {task.id: task for task in tasks_of(config)}
    for record in records:
        if record.task_id not in tasks:
            raise UserError(f"{name_of(record)}: the suite {suite.name} has no such task")
        _actions(run, record)
    size = _image_size(run.manifest, folder)
    progress = _Progress(sum(record.steps for record in records), len(records))
    try:
        with (
            new_folder(output.resolve()) as partial,
            open_simulator(suite, config, 1, size) as simulator,
            progress,
            _WRITERS[version](partial, simulator.control_hz) as dataset,
        ):
            for record in records:
                frames = replay(simulator, tasks[record.task_id], record, _actions(run, record))
                dataset.add(progress.count(frames), record.instruction, _source(run, record))
            dataset.finish()
    except VideoError as error:
        raise UserError(f"cannot write the videos of {output}: {error}") from None
    except OSError as error:
        raise UserError(f"cannot write {output}: {error.strerror or error}") from None
    return output


def _check_free(output: Path) -> None:
    try:
        taken = any(output.iterdir()) if output.is_dir() else output.exists()
    except OSError as error:
        raise UserError(f"cannot write {output}: {error.strerror}") from None
    if taken:
        raise UserError(f"{output} exists and is no empty folder: choose another for the dataset")


def _actions(run: RunDirectory, record: EpisodeRecord) -> np.ndarray:
    actions = run.actions(record)
    if actions is None:
        raise UserError(f"{name_of(record)}: its actions are not in {run.path} as its record says")
    return actions


def _image_size(manifest: Mapping[str, Any], folder: Path) -> int:
    facts = manifest.get("simulator")
    size = facts.get("image_size") if isinstance(facts, dict) else None
    if type(size) is not int or size < 1:
        raise UserError(f"{folder / 'manifest.json'} is damaged: it states no picture size of the policy")
    return size


def _source(run: RunDirectory, record: EpisodeRecord) -> dict[str, Any]:
    names = ("configuration", "task_id", "task_key", "episode", "seed", "status", "steps", "actions_sha256")
    return {"run": run.path.resolve().name} | {name: getattr(record, name) for name in names}


class _Progress:
    """Says on standard error how far the export is and how long the rest takes; a context manager."""

    def __init__(self, frames: int, episodes: int) -> None:
        self._frames, self._episodes = frames, episodes
        self._done = self._ended = 0
        self._console = new_console(stderr=True)
        self._status = self._console.status("Loading") if self._console.is_terminal else None
        self._began = self._said = monotonic()

    def count(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        """Pass an episode's frames on, and count them."""
        for frame in frames:
            yield frame
            self._done += 1
            self._ended += frame.done
            self._say()

    def _say(self) -> None:
        now = monotonic()
        if now - self._said < (0.25 if self._status else LINE_INTERVAL):
            return
        self._said = now
        left = (now - self._began) * (self._frames - self._done) / self._done
        text = f"{self._ended} of {self._episodes} episodes simulated again, {duration(left)} left"
        if self._status:
            self._status.update(text)
        else:
            self._console.print(text, highlight=False, soft_wrap=True)

    def __enter__(self) -> "_Progress":
        (self._status or nullcontext()).__enter__()
        self._began = monotonic()
        return self

    def __exit__(self, *reason: Any) -> None:
        (self._status or nullcontext()).__exit__(*reason)
