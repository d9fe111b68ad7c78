"""Writing of LeRobot datasets, episode by episode; one module for each version of the layout.

A dataset holds tables of states and actions as Parquet, videos of the cameras, and ``meta/``, which says what they
hold: features, instructions, lengths, and statistics of each feature.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from headless_eval.errors import UserError
from headless_eval.export.lerobot_statistics import Pixels, statistics
from headless_eval.rollout.replay import Frame
from headless_eval.rollout.video import Encoder, find_ffmpeg
from headless_eval.shared.program import install

CHUNK = 1000
"""Files in a folder."""

# Training reads single pictures anywhere in a video: a key frame is never far, and none waits for a later one.
_RANDOM_ACCESS = ("-g", "2", "-bf", "0")


class DatasetWriter(ABC):
    """Writes a dataset; ``finish`` completes it. A context manager, which ends the encoders of unfinished videos.

    The pictures of an observation become ``observation.images.<name>``, its vectors, one after another,
    ``observation.state``.

    Args:
        folder: an empty one.
        fps: control steps a second.

    Attributes:
        version: of LeRobot's layout.

    Raises:
        UserError: pyarrow or ffmpeg is missing.
    """

    version: ClassVar[str]

    def __init__(self, folder: Path, fps: float) -> None:
        try:
            import pyarrow.parquet
        except ImportError:
            raise UserError(
                f"a LeRobot dataset needs pyarrow: run {install('headless-eval[parquet]')}"
            ) from None
        self._pyarrow = pyarrow
        self._ffmpeg = find_ffmpeg()
        self._folder = folder
        self._fps = int(fps) if float(fps).is_integer() else float(fps)
        self._tasks: dict[str, int] = {}
        self._lengths: list[int] = []
        self._sources: list[dict[str, Any]] = []
        self._features: dict[str, dict[str, Any]] = {}
        self._videos: dict[str, Video] = {}

    def add(self, frames: Iterable[Frame], instruction: str, source: Mapping[str, Any]) -> None:
        """Write an episode.

        Args:
            frames: at least one.
            instruction: what the policy was told: the task.
            source: where the episode comes from; kept in ``meta/source.jsonl``, which LeRobot does not read.

        Raises:
            OSError: if a file cannot be written.
            VideoError: if an encoder fails.
        """
        index = len(self._lengths)
        pixels: dict[str, Pixels] = {}
        states, actions, successes, dones = [], [], [], []
        for frame in frames:
            pictures, state = _parts(frame.observation)
            if not self._features:
                self._features = _features(frame, self._fps)
            for name, picture in pictures.items():
                if name not in self._videos:
                    path = self._make_place(self._video_place(index, name))
                    self._videos[name] = Video(self._ffmpeg, path, picture.shape, self._fps)
                self._videos[name].add(picture)
                pixels.setdefault(name, Pixels()).add(picture)
            states.append(state)
            actions.append(frame.action)
            successes.append(frame.success)
            dones.append(frame.done)
        length = len(states)
        task = self._tasks.setdefault(instruction, len(self._tasks))
        steps = np.arange(length, dtype=np.int64)
        columns = {
            "observation.state": np.stack(states).astype(np.float32),
            "action": np.stack(actions).astype(np.float32),
            "next.success": np.array(successes),
            "next.done": np.array(dones),
            "timestamp": (steps / self._fps).astype(np.float32),
            "frame_index": steps,
            "episode_index": np.full(length, index, np.int64),
            "index": sum(self._lengths) + steps,
            "task_index": np.full(length, task, np.int64),
        }
        self._lengths.append(length)
        self._sources.append({"episode_index": index, **source})
        self._end_episode(index, instruction, columns, pixels)

    def finish(self) -> None:
        """Write what is missing, and ``meta/``.

        Raises:
            OSError: if it cannot be written.
            VideoError: if an encoder fails.
        """
        self._finish_videos()
        (self._folder / "meta").mkdir(parents=True, exist_ok=True)
        info = {
            "codebase_version": self.version,
            "robot_type": None,
            "total_episodes": len(self._lengths),
            "total_frames": sum(self._lengths),
            "total_tasks": len(self._tasks),
            "chunks_size": CHUNK,
            "fps": self._fps,
            "splits": {"train": f"0:{len(self._lengths)}"},
            "features": self._features,
            **self._info(),
        }
        text = json.dumps(info, indent=4, ensure_ascii=False)
        (self._folder / "meta" / "info.json").write_text(text, encoding="utf-8")
        self._write_meta()
        self._write_lines("source.jsonl", self._sources)

    @abstractmethod
    def _video_place(self, index: int, name: str) -> str:
        """Return the path of the file that a camera's pictures of an episode go to, relative to the dataset."""

    @abstractmethod
    def _end_episode(
        self, index: int, instruction: str, columns: Mapping[str, np.ndarray], pixels: Mapping[str, Pixels]
    ) -> None:
        """Write an episode's columns, and keep its statistics."""

    @abstractmethod
    def _info(self) -> dict[str, Any]:
        """Return what ``info.json`` says in this version alone."""

    @abstractmethod
    def _write_meta(self) -> None:
        """Write the other files of ``meta/``."""

    @property
    def _cameras(self) -> list[str]:
        return [name for name, feature in self._features.items() if feature["dtype"] == "video"]

    def _make_place(self, place: str) -> Path:
        path = self._folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _table(self, columns: Mapping[str, np.ndarray]) -> Any:
        """Return columns as a table of Arrow; vectors are lists of a fixed size."""
        arrow = self._pyarrow
        arrays = [
            arrow.FixedSizeListArray.from_arrays(arrow.array(values.ravel()), values.shape[1])
            if values.ndim == 2
            else arrow.array(values)
            for values in columns.values()
        ]
        return arrow.table(arrays, names=list(columns))

    def _write_lines(self, name: str, entries: Iterable[Mapping[str, Any]]) -> None:
        with open(self._folder / "meta" / name, "w", encoding="utf-8") as file:
            file.writelines(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries)

    def _finish_videos(self) -> None:
        """Complete the files of all cameras."""
        while self._videos:
            _, video = self._videos.popitem()
            video.finish()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: object) -> None:
        while self._videos:
            _, video = self._videos.popitem()
            video.kill()


class Video:
    """A video file that pictures are added to.

    Args:
        ffmpeg: the program.
        path: the file.
        shape: of the pictures, (height, width, 3).
        fps: pictures a second.

    Attributes:
        path: as given.
        count: how many pictures it holds.

    Raises:
        UserError: a side of the pictures is odd.
    """

    def __init__(self, ffmpeg: str, path: Path, shape: tuple[int, ...], fps: float) -> None:
        if shape[0] % 2 or shape[1] % 2:
            raise UserError(
                f"pictures of {shape[0]}x{shape[1]} pixels cannot be kept as H.264: an even size is needed"
            )
        self.path, self.count = path, 0
        with path.open("x+b") as file:
            self._encoder = Encoder(ffmpeg, file.fileno(), shape, fps, _RANDOM_ACCESS)
        self._open = True

    def add(self, picture: np.ndarray) -> None:
        """Add a picture, uint8.

        Raises:
            VideoError: the encoder fails.
        """
        try:
            self._encoder.write(np.ascontiguousarray(picture))
        except OSError as error:
            self._open = False
            raise self._encoder.explain(error) from error
        self.count += 1

    def finish(self) -> None:
        """Complete the file.

        Raises:
            VideoError: the encoder fails.
        """
        self._open = False
        try:
            self._encoder.finish()
        except Exception as error:
            raise self._encoder.explain(error) from error

    def kill(self) -> None:
        """End the encoder; the file stays incomplete."""
        if self._open:
            self._open = False
            self._encoder.kill()


def episode_statistics(
    columns: Mapping[str, np.ndarray], pixels: Mapping[str, Pixels], quantiles: bool
) -> dict[str, dict[str, list[Any]]]:
    """Return the statistics of each feature of some frames."""
    stats = {name: statistics(values, quantiles) for name, values in columns.items()}
    return stats | {name: of.statistics(quantiles) for name, of in pixels.items()}


def _parts(observation: Mapping[str, Any]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return the pictures of an observation by feature, and its vectors as one."""
    arrays = {name: value for name, value in observation.items() if isinstance(value, np.ndarray)}
    pictures = {
        f"observation.images.{_short(name)}": value for name, value in arrays.items() if value.ndim == 3
    }
    return pictures, np.concatenate([value for value in arrays.values() if value.ndim == 1])


def _features(frame: Frame, fps: float) -> dict[str, dict[str, Any]]:
    """Return what ``info.json`` says of the columns and the videos."""
    pictures, state = _parts(frame.observation)
    names = []
    for name, value in frame.observation.items():
        if isinstance(value, np.ndarray) and value.ndim == 1:
            short = _short(name)
            names += [short] if len(value) == 1 else [f"{short}_{index}" for index in range(len(value))]
    actions = [f"action_{index}" for index in range(len(frame.action))]
    features: dict[str, dict[str, Any]] = {
        name: {
            "dtype": "video",
            "shape": list(picture.shape),
            "names": ["height", "width", "channels"],
            "info": {
                "video.height": picture.shape[0],
                "video.width": picture.shape[1],
                "video.codec": "h264",
                "video.pix_fmt": "yuv420p",
                "video.is_depth_map": False,
                "video.fps": fps,
                "video.channels": 3,
                "has_audio": False,
            },
        }
        for name, picture in pictures.items()
    }
    features["observation.state"] = {"dtype": "float32", "shape": [len(state)], "names": names}
    features["action"] = {"dtype": "float32", "shape": [len(actions)], "names": actions}
    scalars = {"next.success": "bool", "next.done": "bool", "timestamp": "float32"}
    scalars |= dict.fromkeys(("frame_index", "episode_index", "index", "task_index"), "int64")
    return features | {name: {"dtype": dtype, "shape": [1], "names": None} for name, dtype in scalars.items()}


def _short(name: str) -> str:
    return name.removeprefix("observation/").replace("/", ".")
