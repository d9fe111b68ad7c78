"""An episode as a recording for Rerun: cameras, state, and the actions beside those of its twin, on one time line."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from headless_eval.contracts.robots import ROBOTS, Robot
from headless_eval.contracts.simulator import Simulator
from headless_eval.errors import UserError
from headless_eval.results import ERROR, EpisodeRecord, RunDirectory
from headless_eval.rollout.replay import name_of, replay
from headless_eval.runs.evaluator import open_simulator
from headless_eval.runs.resume import config_from
from headless_eval.runs.tasks import tasks_of
from headless_eval.shared.files import replaced
from headless_eval.shared.program import install
from headless_eval.shared.suggest import unknown
from headless_eval.shared.terminal import new_console
from headless_eval.sims.registry import Suite, find_suite

_QUALITY = 85  # of the cameras' pictures as JPEG


def export_rerun(folder: Path, output: Path, variant: str | None = None, episode: str | None = None) -> Path:
    """Write one episode of a run as a recording.

    Its pictures and states come from simulating it again from its recorded actions. Where that is not possible, a line
    on standard error says why, and the recording has the episode's video, if the run kept it, and the actions.

    Args:
        folder: of the run.
        output: the file, which is replaced if it exists.
        variant: the variant's name; by default the first that is not the baseline.
        episode: task and number as ``scene_1:3`` or ``1:3``; by default the first that is no error.

    Returns:
        The file.

    Raises:
        UserError: rerun-sdk is missing, the run, variant or episode does not exist, its actions are not kept, or the
            file cannot be written.
    """
    _rerun()
    run = RunDirectory.open(folder)
    record = _find(run, variant, episode)
    actions = run.actions(record)
    if actions is None:
        raise UserError(f"{name_of(record)}: its actions are not in {run.path}, so there is nothing to show")
    suite = find_suite(run.manifest["suite"])
    twin = None if record.configuration == run.baseline else _twin(run, record)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with replaced(output) as partial:
            recording = _Recording(partial, run, suite, record)
            recording.add_actions(record.configuration, actions)
            if twin is not None:
                recording.add_actions(f"{run.baseline} (twin)", twin)
            video = run.video(record)
            if video is not None:
                recording.add_video(video)
            try:
                _simulate(recording, run, suite, record, actions)
            except UserError as error:
                print(
                    f"headless-eval: the recording's cameras and states end after {recording.observed} of "
                    f"{record.steps} steps: {error}",
                    file=sys.stderr,
                )
            recording.close()
    except OSError as error:
        raise UserError(f"cannot write {output}: {error.strerror or error}") from None
    return output


def _find(run: RunDirectory, variant: str | None, episode: str | None) -> EpisodeRecord:
    """Return the record of the episode that is asked for."""
    if variant is None:
        variant = next((name for name in run.variants if name != run.baseline), run.baseline)
    elif variant not in run.variants:
        raise unknown("configuration", variant, run.variants)
    records = [record for record in run.records() if record.configuration == variant]
    if episode is None:
        found = next((record for record in records if record.status != ERROR), None)
        if found is None:
            raise UserError(f"{run.path} has no episode of {variant} that ended without an error")
        return found
    names = {
        f"{key}:{record.episode}": record for record in records for key in (record.task_id, record.task_key)
    }
    if episode not in names:
        raise unknown(f"episode of {variant}", episode, list(names))
    return names[episode]


def _twin(run: RunDirectory, record: EpisodeRecord) -> np.ndarray | None:
    """Return the actions of the baseline's episode with the same seed; None if it has none."""
    for other in run.records():
        same = (other.task_id, other.episode, other.seed) == (record.task_id, record.episode, record.seed)
        if other.configuration == run.baseline and same:
            return run.actions(other)
    return None


def _simulate(
    recording: "_Recording", run: RunDirectory, suite: Suite, record: EpisodeRecord, actions: np.ndarray
) -> None:
    """Add the pictures and states of an episode, simulated again.

    Raises:
        UserError: the episode was an error, the simulator cannot be opened, or it ends otherwise now.
    """
    if record.status == ERROR:
        raise UserError("the episode was an error")
    config = config_from(run.manifest, run.path)
    task = next((task for task in tasks_of(config) if task.id == record.task_id), None)
    simulated = run.manifest.get("simulator")
    size = simulated.get("image_size") if isinstance(simulated, dict) else None
    if task is None or not isinstance(size, int):
        raise UserError(
            f"the suite {suite.name} has no task {record.task_id}, or the size of its pictures is lost"
        )
    with (
        new_console(stderr=True).status("Simulating the episode again"),
        open_simulator(suite, config, 1, size) as simulator,
    ):
        checked: Simulator = simulator
        for step, frame in enumerate(replay(checked, task, record, actions)):
            recording.add_observation(step, frame.observation)


class _Recording:
    """A recording that is being written, with the time lines ``step`` and ``time``."""

    def __init__(self, path: Path, run: RunDirectory, suite: Suite, record: EpisodeRecord) -> None:
        self._rerun = _rerun()
        self._robot: Robot = ROBOTS.find(suite.robot)
        simulated = run.manifest.get("simulator")
        stated = simulated.get("control_hz") if isinstance(simulated, dict) else None
        self.observed = 0  # steps whose pictures and states are there
        self._hz = float(stated or self._robot.control_hz)
        name = f"{run.path.resolve().name} {record.configuration} {record.task_key} episode {record.episode}"
        self._stream = self._rerun.RecordingStream("headless-eval", recording_id=name)
        self._stream.set_log_time_enabled(False)  # when it was written means nothing
        self._stream.save(path, default_blueprint=_layout(self._rerun, self._robot))
        self._stream.send_recording_name(name)
        about = {
            "instruction": record.instruction,
            "variant": record.configuration,
            "task": record.task_key,
            "episode": record.episode,
            "seed": record.seed,
            "outcome": f"{record.status} after {record.steps} steps",
        }
        text = "\n".join(f"- {what}: {value}" for what, value in about.items())
        markdown = self._rerun.MediaType.MARKDOWN
        self._stream.log("episode", self._rerun.TextDocument(text, media_type=markdown), static=True)

    def add_actions(self, name: str, actions: np.ndarray) -> None:
        """Add executed actions (steps, dims), a line for each dimension."""
        for dim, path in enumerate(_dimensions(self._robot.actions, "action", actions.shape[1])):
            line = f"{path}/{self._rerun.escape_entity_path_part(name)}"
            self._stream.log(line, self._rerun.SeriesLines(names=name), static=True)
            self._columns(line, actions[:, dim])

    def add_observation(self, step: int, observation: dict[str, Any]) -> None:
        """Add the pictures and the state before an action."""
        self._at(step)
        for camera in self._robot.cameras:
            if camera.key in observation:
                picture = self._rerun.Image(observation[camera.key]).compress(jpeg_quality=_QUALITY)
                self._stream.log(_camera(camera.key), picture)
        values = np.concatenate(
            [np.ravel(observation[group.key])[: group.dims] for group in self._robot.state]
        )
        for path, value in zip(_dimensions(self._robot.state, "state", len(values)), values, strict=True):
            self._stream.log(path, self._rerun.Scalars(float(value)))
        self.observed += 1

    def add_video(self, path: Path) -> None:
        """Add the episode's video, which plays in the simulation's time."""
        asset = self._rerun.AssetVideo(path=path)
        self._stream.log("video", asset, static=True)
        stamps = np.asarray(asset.read_frame_timestamps_nanos())
        for stamp in stamps:
            self._at(round(float(stamp) / 1e9 * self._hz))
            self._stream.log("video", self._rerun.VideoFrameReference(nanoseconds=int(stamp)))

    def close(self) -> None:
        """Write what is left."""
        self._stream.flush()
        self._stream.disconnect()

    def _at(self, step: int) -> None:
        self._stream.set_time("step", sequence=step)
        self._stream.set_time("time", duration=step / self._hz)

    def _columns(self, path: str, values: np.ndarray) -> None:
        steps = np.arange(len(values))
        times = [
            self._rerun.TimeColumn("step", sequence=steps),
            self._rerun.TimeColumn("time", duration=steps / self._hz),
        ]
        self._stream.send_columns(path, times, self._rerun.Scalars.columns(scalars=values.astype(np.float64)))


def _dimensions(groups: Sequence[Any], root: str, number: int) -> list[str]:
    """Return the path of each dimension of a vector: those that no group names have numbers."""
    named = [
        f"{root}/{getattr(group, 'name', None) or _short(group.key)}/{name}"
        for group in groups
        for name in group.names
    ]
    return (named + [f"{root}/{index}" for index in range(len(named), number)])[:number]


def _short(key: str) -> str:
    return key.rpartition("/")[2]


def _camera(key: str) -> str:
    return f"cameras/{_short(key)}"


def _layout(rerun: Any, robot: Robot) -> Any:
    """Return the arrangement of the viewer: cameras on the left, a plot for each dimension of the action beside."""
    from rerun import blueprint

    cameras = [
        blueprint.Spatial2DView(origin=_camera(one.key), name=_short(one.key)) for one in robot.cameras
    ]
    about = blueprint.TextDocumentView(origin="episode", name="episode")
    video = blueprint.Spatial2DView(origin="video", name="video")
    actions = _dimensions(robot.actions, "action", robot.action_dims)
    plots = [blueprint.TimeSeriesView(origin=path, name=path.removeprefix("action/")) for path in actions]
    state = blueprint.TimeSeriesView(origin="state", name="state")
    left = blueprint.Vertical(*cameras, blueprint.Tabs(about, video, state))
    return blueprint.Blueprint(blueprint.Horizontal(left, blueprint.Grid(*plots), column_shares=[1, 2]))


def _rerun() -> Any:
    try:
        import rerun
    except ImportError:
        raise UserError(
            f"recordings for Rerun need rerun-sdk: run {install('headless-eval[rerun]')}"
        ) from None
    return rerun
