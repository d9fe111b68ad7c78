"""LeRobot's dataset layout v3.0: many episodes in a Parquet file and in a video; ``meta/`` as Parquet.

Source: ``lerobot/datasets/utils.py`` and ``dataset_metadata.py`` of LeRobot 0.6.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from headless_eval.export.lerobot_dataset import CHUNK, DatasetWriter, episode_statistics
from headless_eval.export.lerobot_statistics import Pixels

_FILE = "chunk-{chunk_index:03d}/file-{file_index:03d}"
_DATA, _VIDEO = f"data/{_FILE}.parquet", f"videos/{{video_key}}/{_FILE}.mp4"
_EPISODES = f"meta/episodes/{_FILE}.parquet"
_DATA_MB, _VIDEO_MB = 100, 200


class WriterV30(DatasetWriter):
    """Writes the layout v3.0. A file that has reached its size is ended with the episode.

    Args:
        folder: an empty one.
        fps: control steps a second.
        data_mb: size of a Parquet file in megabytes.
        video_mb: size of a video in megabytes.
    """

    version = "v3.0"

    def __init__(
        self, folder: Path, fps: float, data_mb: float = _DATA_MB, video_mb: float = _VIDEO_MB
    ) -> None:
        super().__init__(folder, fps)
        self._data_mb, self._video_mb = data_mb, video_mb
        self._episodes: list[dict[str, Any]] = []
        self._columns: list[Mapping[str, np.ndarray]] = []
        self._pixels: dict[str, Pixels] = {}
        self._files: dict[str, int] = {}  # of each camera, and of the data by its path
        self._data: Any = None
        self._data_path = Path()

    def _video_place(self, index: int, name: str) -> str:
        return _VIDEO.format(video_key=name, **self._place(name))

    def _end_episode(
        self, index: int, instruction: str, columns: Mapping[str, np.ndarray], pixels: Mapping[str, Pixels]
    ) -> None:
        length = self._lengths[index]
        before = sum(self._lengths[:index])
        data = self._place(_DATA)
        row: dict[str, Any] = {
            "episode_index": index,
            "tasks": [instruction],
            "length": length,
            "data/chunk_index": data["chunk_index"],
            "data/file_index": data["file_index"],
            "dataset_from_index": before,
            "dataset_to_index": before + length,
        }
        for name, video in self._videos.items():
            row |= {f"videos/{name}/{key}": value for key, value in self._place(name).items()}
            row[f"videos/{name}/from_timestamp"] = (video.count - length) / self._fps
            row[f"videos/{name}/to_timestamp"] = video.count / self._fps
        for feature, stats in episode_statistics(columns, pixels, quantiles=True).items():
            row |= {f"stats/{feature}/{name}": values for name, values in stats.items()}
        self._episodes.append(row | {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0})
        self._columns.append(columns)
        for name, of in pixels.items():
            self._pixels.setdefault(name, Pixels()).include(of)
        self._write_data(columns)
        self._end_large_videos()

    def _write_data(self, columns: Mapping[str, np.ndarray]) -> None:
        table = self._table(columns)
        if self._data is None:
            self._data_path = self._make_place(_DATA.format(**self._place(_DATA)))
            self._data = self._pyarrow.parquet.ParquetWriter(self._data_path, table.schema)
        self._data.write_table(table)
        if self._data_path.stat().st_size >= self._data_mb * 1e6:
            self._end_data()
            self._files[_DATA] = self._files.get(_DATA, 0) + 1

    def _end_data(self) -> None:
        if self._data is not None:
            self._data.close()
            self._data = None

    def _end_large_videos(self) -> None:
        for name, video in list(self._videos.items()):
            size = video.path.stat().st_size if video.path.exists() else 0  # the encoder makes the file
            if size >= self._video_mb * 1e6:
                self._videos.pop(name).finish()
                self._files[name] = self._files.get(name, 0) + 1

    def _place(self, what: str) -> dict[str, int]:
        """Return the folder and the file that a camera's pictures, or the data, go to."""
        chunk, file = divmod(self._files.get(what, 0), CHUNK)
        return {"chunk_index": chunk, "file_index": file}

    def _info(self) -> dict[str, Any]:
        return {
            # Whole numbers above 0, as LeRobot wants them.
            "data_files_size_in_mb": max(1, math.ceil(self._data_mb)),
            "video_files_size_in_mb": max(1, math.ceil(self._video_mb)),
            "data_path": _DATA,
            "video_path": _VIDEO,
        }

    def _write_meta(self) -> None:
        import pandas

        self._end_data()
        index = pandas.Index(list(self._tasks), name="task")
        tasks = pandas.DataFrame({"task_index": list(self._tasks.values())}, index=index)
        tasks.to_parquet(self._folder / "meta" / "tasks.parquet")
        table = self._pyarrow.Table.from_pylist(self._episodes)
        place = self._make_place(_EPISODES.format(chunk_index=0, file_index=0))
        self._pyarrow.parquet.write_table(table, place)
        names = self._columns[0] if self._columns else ()
        whole = {name: np.concatenate([columns[name] for columns in self._columns]) for name in names}
        stats = json.dumps(episode_statistics(whole, self._pixels, quantiles=True), indent=4)
        (self._folder / "meta" / "stats.json").write_text(stats, encoding="utf-8")

    def __exit__(self, *reason: object) -> None:
        super().__exit__(*reason)
        self._end_data()
