"""LeRobot's dataset layout v2.1: a Parquet file and a video per camera for every episode; ``meta/`` as lines of JSON.

Source: ``lerobot/common/datasets/utils.py`` of LeRobot 0.3.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from headless_eval.export.lerobot_dataset import CHUNK, DatasetWriter, episode_statistics
from headless_eval.export.lerobot_statistics import Pixels

_DATA = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
_VIDEO = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"


class WriterV21(DatasetWriter):
    """Writes the layout v2.1."""

    version = "v2.1"

    def __init__(self, folder: Path, fps: float) -> None:
        super().__init__(folder, fps)
        self._episodes: list[dict[str, Any]] = []
        self._stats: list[dict[str, Any]] = []

    def _video_place(self, index: int, name: str) -> str:
        return _VIDEO.format(episode_chunk=index // CHUNK, episode_index=index, video_key=name)

    def _end_episode(
        self, index: int, instruction: str, columns: Mapping[str, np.ndarray], pixels: Mapping[str, Pixels]
    ) -> None:
        self._finish_videos()
        path = self._make_place(_DATA.format(episode_chunk=index // CHUNK, episode_index=index))
        self._pyarrow.parquet.write_table(self._table(columns), path)
        stats = episode_statistics(columns, pixels, quantiles=False)
        self._stats.append({"episode_index": index, "stats": stats})
        self._episodes.append(
            {"episode_index": index, "tasks": [instruction], "length": self._lengths[index]}
        )

    def _info(self) -> dict[str, Any]:
        number = len(self._lengths)
        return {
            "total_videos": number * len(self._cameras),
            "total_chunks": -(-number // CHUNK),
            "data_path": _DATA,
            "video_path": _VIDEO,
        }

    def _write_meta(self) -> None:
        tasks = [{"task_index": index, "task": task} for task, index in self._tasks.items()]
        self._write_lines("tasks.jsonl", tasks)
        self._write_lines("episodes.jsonl", self._episodes)
        self._write_lines("episodes_stats.jsonl", self._stats)
