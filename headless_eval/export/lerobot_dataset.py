"""Writes datasets in LeRobot's layout v2.1.

A Parquet file and a video per camera for every episode, in folders of a thousand; ``meta/`` says what they hold:
``info.json`` the features, ``tasks.jsonl`` the instructions, ``episodes.jsonl`` the lengths,
``episodes_stats.jsonl`` each feature's range, mean and deviation, pictures scaled to [0, 1].
Source of the layout: ``lerobot/common/datasets/utils.py`` and ``compute_stats.py`` of LeRobot.
"""

import json
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from headless_eval.errors import UserError
from headless_eval.rollout.replay import Frame
from headless_eval.rollout.video import Encoder, find_ffmpeg
from headless_eval.shared.program import install

VERSION = "v2.1"
CHUNK = 1000
"""Episodes in a folder."""

_DATA = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
_VIDEO = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"
# Training reads single pictures anywhere in a video: a key frame is never far, and none waits for a later one.
_RANDOM_ACCESS = ("-g", "2", "-bf", "0")


class DatasetWriter:
    """Writes a dataset, episode by episode; ``finish`` completes it.

    The pictures of an observation become ``observation.images.<name>``, its vectors, one after another,
    ``observation.state``.

    Args:
        folder: an empty one.
        fps: control steps a second.

    Raises:
        UserError: pyarrow or ffmpeg is missing.
    """

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
        self._episodes: list[dict[str, Any]] = []
        self._stats: list[dict[str, Any]] = []
        self._sources: list[dict[str, Any]] = []
        self._features: dict[str, dict[str, Any]] = {}
        self._frames = 0

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
        index = len(self._episodes)
        cameras: dict[str, _Camera] = {}
        states, actions, successes, dones = [], [], [], []
        with ExitStack() as stack:
            for frame in frames:
                pictures, state = _parts(frame.observation)
                if not self._features:
                    self._features = _features(frame, self._fps)
                for name, picture in pictures.items():
                    if name not in cameras:
                        path = self._path(_VIDEO, index, video_key=name)
                        camera = _Camera(self._ffmpeg, path, picture.shape, self._fps)
                        cameras[name] = stack.enter_context(camera)
                    cameras[name].add(picture)
                states.append(state)
                actions.append(frame.action)
                successes.append(frame.success)
                dones.append(frame.done)
            for camera in cameras.values():
                camera.finish()
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
            "index": self._frames + steps,
            "task_index": np.full(length, task, np.int64),
        }
        self._write_table(self._path(_DATA, index), columns)
        stats = {name: _statistics(values) for name, values in columns.items()}
        stats |= {name: camera.statistics() for name, camera in cameras.items()}
        self._stats.append({"episode_index": index, "stats": stats})
        self._episodes.append({"episode_index": index, "tasks": [instruction], "length": length})
        self._sources.append({"episode_index": index, **source})
        self._frames += length

    def finish(self) -> None:
        """Write ``meta/``.

        Raises:
            OSError: if it cannot be written.
        """
        number = len(self._episodes)
        videos = sum(feature["dtype"] == "video" for feature in self._features.values())
        info = {
            "codebase_version": VERSION,
            "robot_type": None,
            "total_episodes": number,
            "total_frames": self._frames,
            "total_tasks": len(self._tasks),
            "total_videos": number * videos,
            "total_chunks": -(-number // CHUNK),
            "chunks_size": CHUNK,
            "fps": self._fps,
            "splits": {"train": f"0:{number}"},
            "data_path": _DATA,
            "video_path": _VIDEO,
            "features": self._features,
        }
        meta = self._folder / "meta"
        meta.mkdir(parents=True)
        (meta / "info.json").write_text(json.dumps(info, indent=4, ensure_ascii=False), encoding="utf-8")
        tasks = [{"task_index": index, "task": task} for task, index in self._tasks.items()]
        _write_lines(meta / "tasks.jsonl", tasks)
        _write_lines(meta / "episodes.jsonl", self._episodes)
        _write_lines(meta / "episodes_stats.jsonl", self._stats)
        _write_lines(meta / "source.jsonl", self._sources)

    def _path(self, pattern: str, index: int, **names: str) -> Path:
        path = self._folder / pattern.format(episode_chunk=index // CHUNK, episode_index=index, **names)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _write_table(self, path: Path, columns: Mapping[str, np.ndarray]) -> None:
        arrow = self._pyarrow
        arrays = [
            arrow.FixedSizeListArray.from_arrays(arrow.array(values.ravel()), values.shape[1])
            if values.ndim == 2
            else arrow.array(values)
            for values in columns.values()
        ]
        arrow.parquet.write_table(arrow.table(arrays, names=list(columns)), path)


class _Camera:
    """The video of one camera in one episode, and the statistics of its pictures; a context manager."""

    def __init__(self, ffmpeg: str, path: Path, shape: tuple[int, ...], fps: float) -> None:
        if shape[0] % 2 or shape[1] % 2:
            raise UserError(
                f"pictures of {shape[0]}x{shape[1]} pixels cannot be kept as H.264: an even size is needed"
            )
        self._encoder = Encoder(ffmpeg, path, shape, fps, _RANDOM_ACCESS)
        self._open = True
        self._count = self._pixels = 0
        self._least, self._most = np.full(3, 255), np.zeros(3, np.int64)
        self._sum, self._squares = np.zeros(3, np.int64), np.zeros(3, np.int64)

    def add(self, picture: np.ndarray) -> None:
        try:
            self._encoder.write(np.ascontiguousarray(picture))
        except OSError as error:
            self._open = False
            raise self._encoder.explain(error) from error
        values = picture.reshape(-1, 3).astype(np.int64)
        self._count += 1
        self._pixels += len(values)
        self._least = np.minimum(self._least, values.min(axis=0))
        self._most = np.maximum(self._most, values.max(axis=0))
        self._sum += values.sum(axis=0)
        self._squares += (values**2).sum(axis=0)

    def finish(self) -> None:
        self._open = False
        try:
            self._encoder.finish()
        except Exception as error:
            raise self._encoder.explain(error) from error

    def statistics(self) -> dict[str, list[Any]]:
        mean = self._sum / self._pixels
        deviation = np.sqrt(np.maximum(self._squares / self._pixels - mean**2, 0))
        found = {"min": self._least, "max": self._most, "mean": mean, "std": deviation}
        shaped = {name: (value / 255).reshape(3, 1, 1).tolist() for name, value in found.items()}
        return shaped | {"count": [self._count]}

    def __enter__(self) -> "_Camera":
        return self

    def __exit__(self, *reason: object) -> None:
        if self._open:
            self._open = False
            self._encoder.kill()


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


def _statistics(values: np.ndarray) -> dict[str, list[Any]]:
    rows = values.reshape(len(values), -1)
    exact = rows.astype(np.float64)
    return {
        "min": rows.min(axis=0).tolist(),
        "max": rows.max(axis=0).tolist(),
        "mean": exact.mean(axis=0).tolist(),
        "std": exact.std(axis=0).tolist(),
        "count": [len(rows)],
    }


def _write_lines(path: Path, entries: Iterable[Mapping[str, Any]]) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries)
