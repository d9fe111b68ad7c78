"""TensorBoard: an event file in the folder ``tensorboard`` of the run; nothing is sent anywhere."""

import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from headless_eval.report.trackers import TRACKERS, TrackedRun, TrackedVideo
from headless_eval.rollout.video import find_ffmpeg

FOLDER = "tensorboard"
_WIDTH = 240  # pixels of a video, which TensorBoard shows as an animated picture


@TRACKERS.register("tensorboard")
class TensorBoard:
    """An event file: numbers as scalars, settings and where the page is as text, videos as animated pictures."""

    package = "tensorboard"

    def __init__(self, run: TrackedRun) -> None:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._writer: Any = EventFileWriter(str(run.folder / FOLDER))
        self._step = 0
        rows = [f"| {name} | {str(value).replace('|', '&#124;')} |" for name, value in run.settings.items()]
        self._text("settings", "\n".join(["| setting | value |", "|---|---|", *rows]))

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Write numbers."""
        self._step = step
        self._add(step, [{"tag": _tag(name), "simple_value": value} for name, value in values.items()])
        self._writer.flush()

    def finish(self, page: Path, videos: Sequence[TrackedVideo]) -> None:
        """Write where the page is, and the videos."""
        self._text("report", f"`{page}`")
        for one in videos:
            gif = _gif(one.path)
            width, height = (int.from_bytes(gif[start : start + 2], "little") for start in (6, 8))
            image = {"width": width, "height": height, "colorspace": 3, "encoded_image_string": gif}
            self._add(self._step, [{"tag": _tag(f"videos/{one.name}"), "image": image}])
        self._writer.close()

    def _text(self, tag: str, text: str) -> None:
        from tensorboard.plugins.text import metadata

        tensor = {
            "dtype": 7,
            "string_val": [text.encode()],
            "tensor_shape": {"dim": [{"size": 1}]},
        }  # 7: strings
        described = metadata.create_summary_metadata(tag, "")
        self._add(self._step, [{"tag": tag, "metadata": described, "tensor": tensor}])

    def _add(self, step: int, values: list[dict[str, Any]]) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        summary = Summary(value=[Summary.Value(**value) for value in values])
        self._writer.add_event(Event(wall_time=time.time(), step=step, summary=summary))


def _tag(text: str) -> str:
    return re.sub(r"[^\w./-]", "_", text)


def _gif(video: Path) -> bytes:
    """Return a video as an animated GIF."""
    command = [find_ffmpeg(), "-v", "error", "-i", str(video), "-vf", f"scale={_WIDTH}:-1", "-f", "gif", "-"]
    return subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL).stdout
