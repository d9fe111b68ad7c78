"""Video of an episode as H.264: the cameras above a caption band, encoded beside the evaluation loop."""

import contextlib
import errno
import math
import os
import queue
import shutil
import subprocess
import threading
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from headless_eval.errors import CannotWrite, UserError
from headless_eval.shared.files import Folder
from headless_eval.shared.foreign import abandon_in_children
from headless_eval.shared.program import install

HOLD_S = 1.0
"""How long the last picture stays, with the outcome, in seconds."""

_QUEUE_FRAMES = 64
_MIN_WIDTH = 320
_BAND, _TEXT, _DIM = (24, 24, 27), (250, 250, 250), (190, 190, 196)
# What the system, and ffmpeg after it, says where the disk and not the encoder is at fault.
_DISK_FAULTS = [os.strerror(code) for code in (errno.ENOSPC, errno.EDQUOT, errno.EROFS)]
_OUTCOMES = {"success": (21, 128, 61), "failure": (185, 28, 28), "error": (180, 83, 9)}


class VideoError(RuntimeError):
    """The encoder failed; the message ends with what it said."""


@lru_cache(maxsize=1)
def find_ffmpeg() -> str:
    """Return the path of the ffmpeg program that imageio-ffmpeg brings or finds.

    Raises:
        UserError: ffmpeg is not installed.
    """
    try:
        import imageio_ffmpeg

        found = shutil.which(imageio_ffmpeg.get_ffmpeg_exe())
    except (ImportError, RuntimeError):
        found = None
    if found is None:
        raise UserError(f"no ffmpeg for the videos: run {install('imageio-ffmpeg')}, or use --videos none")
    return found


class VideoWriter:
    """Writes the video of one episode.

    ``add`` only queues a copy of the frame: a thread draws the caption and feeds ffmpeg, a process of its
    own. Where the encoder is slower than the episode, ``add`` waits for it once 64 frames are queued. The
    file has its final name only when it is complete. Pictures under 320 pixels wide are enlarged by a whole
    factor, so that the caption fits.

    Args:
        folder: of the video (``RunDirectory.video_place``).
        name: the video's name without outcome and suffix.
        fps: frames per second.
        task: the task's name or instruction, the caption's first line.
        variant: its name, the second line.

    Raises:
        UserError: ffmpeg is not installed.
        CannotWrite: if the file cannot be made.
    """

    def __init__(self, folder: Folder, name: str, fps: float, *, task: str, variant: str) -> None:
        self._ffmpeg = find_ffmpeg()
        self._folder, self._name = folder, name
        try:
            self._partial, self._file = folder.temporary(name, "mp4.part")
        except OSError as error:
            raise CannotWrite(f"the video {name}", error.strerror) from error
        self._fps = fps
        self._texts = task, variant
        self._reason: str | None = None
        self._shape: tuple[int, ...] | None = None
        self._queue: queue.Queue[tuple[np.ndarray, int, float] | str | None] = queue.Queue(_QUEUE_FRAMES)
        self._thread: threading.Thread | None = None
        self._failure: Exception | None = None

    def add(self, frame: np.ndarray, step: int, seconds: float) -> None:
        """Add a picture.

        Args:
            frame: uint8 (height, width, 3), of one size throughout; it is copied.
            step: control steps taken so far.
            seconds: simulated time so far.

        Raises:
            ValueError: the frame is not uint8 of the announced shape.
        """
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
            raise ValueError(f"a frame is uint8 (height, width, 3), not {frame.dtype} {frame.shape}")
        if self._thread is None:
            self._shape = frame.shape
            self._thread = threading.Thread(target=self._encode, name="video", daemon=True)
            self._thread.start()
        elif frame.shape != self._shape:
            raise ValueError(f"the frames of a video have one size: {self._shape}, then {frame.shape}")
        self._queue.put((frame.copy(), step, seconds))

    def close(self, outcome: str, reason: str | None = None) -> Path | None:
        """Hold the last picture with the outcome, finish the file and give it its name.

        Args:
            outcome: ``success``, ``failure`` or ``error``.
            reason: why the episode failed, such as ``missed_grasp``; shown beside the outcome.

        Returns:
            The video's path, ``<name>_<outcome>.mp4`` in the folder, or None if there was no frame.

        Raises:
            VideoError: if the encoder failed; no file is left.
            CannotWrite: if the disk did not take the file; no file is left.
        """
        if outcome not in _OUTCOMES:
            raise ValueError(f"outcome {outcome!r} is none of {', '.join(_OUTCOMES)}")
        self._reason = reason
        self._end(outcome)
        if self._shape is None or self._failure is not None:
            self._folder.remove(self._partial)
        if self._shape is None:
            return None
        if self._failure is not None:
            for reason in _DISK_FAULTS:
                if reason in str(self._failure):
                    raise CannotWrite(f"the video {self._name}", reason) from self._failure
            raise VideoError(f"no video {self._name}: {self._failure}") from self._failure
        name = f"{self._name}_{outcome}.mp4"
        try:
            self._folder.rename(self._partial, name)
        except OSError as error:
            raise CannotWrite(f"the video {name}", error.strerror) from error
        return self._folder.path / name

    def discard(self) -> None:
        """Stop and leave no file; after ``close`` it does nothing."""
        self._end(None)
        self._folder.remove(self._partial)

    def _end(self, outcome: str | None) -> None:
        if self._thread is not None:
            self._queue.put(outcome)
            self._thread.join()
            self._thread = None
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _encode(self) -> None:
        """Feed ffmpeg until the outcome is known; after a failure, keep emptying the queue."""
        assert self._shape is not None
        scale = math.ceil(_MIN_WIDTH / self._shape[1])
        height, width = scale * self._shape[0], scale * self._shape[1]
        try:
            band = _Band(*self._texts, width)
            canvas = np.zeros((_even(height) + band.height, _even(width), 3), np.uint8)
            encoder = Encoder(self._ffmpeg, self._file, canvas.shape, self._fps)
        except Exception as error:
            self._failure = error
        step, seconds = 0, 0.0
        while isinstance(item := self._queue.get(), tuple):
            if self._failure is not None:
                continue
            frame, step, seconds = item
            try:
                for row, column in np.ndindex(scale, scale):
                    canvas[row:height:scale, column:width:scale] = frame
                canvas[-band.height :, :width] = band.draw(step, seconds)
                encoder.write(canvas)
            except Exception as error:
                self._failure = encoder.explain(error)
        if self._failure is not None:
            return
        try:
            if item is None:
                encoder.kill()
                return
            canvas[-band.height :, :width] = band.draw(step, seconds, item, self._reason)
            for _ in range(max(1, round(HOLD_S * self._fps))):
                encoder.write(canvas)
            encoder.finish()
        except Exception as error:
            self._failure = encoder.explain(error)


class Encoder:
    """An ffmpeg process that takes raw frames on its standard input.

    Args:
        ffmpeg: the program.
        file: descriptor of the file, open for reading and writing, which becomes H.264 in MP4; the caller closes it.
        shape: of the frames, (height, width, 3); both even.
        fps: frames per second.
        options: more of ffmpeg's for the codec.
    """

    def __init__(
        self, ffmpeg: str, file: int, shape: tuple[int, ...], fps: float, options: Sequence[str] = ()
    ) -> None:
        height, width, _ = shape
        source = [
            "-f",
            "rawvideo",
            "-pix_fmt",
            "rgb24",
            "-s",
            f"{width}x{height}",
            "-r",
            f"{fps:g}",
            "-i",
            "-",
        ]
        codec = [
            "-c:v",
            "libx264",
            "-preset",
            "veryfast",
            "-crf",
            "23",
            "-pix_fmt",
            "yuv420p",
            "-threads",
            "1",
            *options,
        ]
        # Without dates and versions in it, the same frames give the same file.
        container = ["-fflags", "+bitexact", "-flags:v", "+bitexact", "-movflags", "+faststart", "-f", "mp4"]
        quiet = ["-hide_banner", "-loglevel", "error", "-y"]
        # In memory: what it says of a full disk must not need that disk.
        self._errors = os.fdopen(os.memfd_create("ffmpeg"), "w+b")
        self._process = subprocess.Popen(
            [ffmpeg, *quiet, *source, "-an", *codec, *container, f"file:/proc/self/fd/{file}"],
            pass_fds=[file],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            process_group=0,  # Ctrl-C is for the evaluation, which then closes its videos
        )
        abandon_in_children(self)

    def abandon(self) -> None:
        """Close the pipe in a forked process: else ffmpeg would wait for that process to close it."""
        assert self._process.stdin is not None
        if not self._process.stdin.closed:
            nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
            # The number stays taken: what Python still wants to write to it must not get into another file.
            os.dup2(nowhere, self._process.stdin.fileno(), inheritable=False)
            os.close(nowhere)

    def write(self, frame: np.ndarray) -> None:
        """Hand over a frame, uint8 and contiguous."""
        assert self._process.stdin is not None
        self._process.stdin.write(frame.data)

    def finish(self) -> None:
        """Complete the file.

        Raises:
            VideoError: if ffmpeg failed.
        """
        assert self._process.stdin is not None
        self._process.stdin.close()
        if self._process.wait() != 0:
            raise VideoError("the encoder failed")
        self._errors.close()

    def kill(self) -> None:
        """End the process; the file is not whole."""
        self._process.kill()
        self._process.wait()
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):  # closing writes what was buffered
                self._process.stdin.close()
        self._errors.close()

    def explain(self, error: Exception) -> VideoError:
        """End the process and return the error with what ffmpeg said and how it ended."""
        try:
            status: int | None = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            status = None
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace").strip()[-600:]
        self.kill()
        return VideoError(f"{error} (ffmpeg's exit status {status}) {said}".rstrip())


class _Band:
    """The caption below the picture: the task; then variant, step and time; at the end the outcome.

    All but the right end of the second line is drawn once.
    """

    def __init__(self, task: str, variant: str, width: int) -> None:
        size = max(11, min(28, round(width / 30)))
        self._font = ImageFont.load_default(size)
        self._margin = size // 2
        self._line = round(size * 1.35)
        self.height = _even(2 * self._line + self._margin)
        self._task, self._variant, self._width = task, variant, width
        # The widest that the right end can be.
        self._right = round(self._font.getlength("step 8888 · 888.8 s")) + self._margin
        self._base = self._draw_base(_BAND, _DIM, variant)

    def draw(
        self, step: int, seconds: float, outcome: str | None = None, reason: str | None = None
    ) -> np.ndarray:
        """Return the band, uint8 (height, width, 3), valid until the next call."""
        if outcome is not None:
            said = outcome.upper() if reason is None else f"{outcome.upper()}: {reason.replace('_', ' ')}"
            self._base = self._draw_base(_OUTCOMES[outcome], _TEXT, f"{said} · {self._variant}")
        top = self._margin // 2 + self._line
        left = max(0, self._width - self._right)
        background = tuple(int(value) for value in self._base[0, 0])
        part = Image.new("RGB", (self._width - left, self.height - top), background)
        text = f"step {step} · {seconds:.1f} s"
        ImageDraw.Draw(part).text((part.width - self._margin, 0), text, _TEXT, self._font, anchor="ra")
        self._base[top:, left:] = np.asarray(part)
        return self._base

    def _draw_base(self, background: tuple, second: tuple, text: str) -> np.ndarray:
        image = Image.new("RGB", (self._width, self.height), background)
        draw = ImageDraw.Draw(image)
        room = self._width - 2 * self._margin
        top = self._margin // 2
        draw.text((self._margin, top), self._fit(self._task, room), _TEXT, self._font)
        text = self._fit(text, room - self._right)
        draw.text((self._margin, top + self._line), text, second, self._font)
        return np.array(image)

    def _fit(self, text: str, room: float) -> str:
        """Shorten a text to a width in pixels."""
        text = " ".join(text.split())
        if self._font.getlength(text) <= room:
            return text
        while text and self._font.getlength(text + "…") > room:
            text = text[:-1]
        return text + "…" if text else ""


def _even(size: int) -> int:
    """Round up to an even number, as the halved colour planes of yuv420p need."""
    return size + size % 2
