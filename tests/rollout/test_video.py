"""Videos: what is in the file, what happens when the encoder fails, what the loop's thread pays."""

import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from headless_eval.errors import CannotWrite, UserError
from headless_eval.rollout import video
from headless_eval.rollout.video import VideoError, VideoWriter, find_ffmpeg
from headless_eval.shared.files import Folder

WIDTH, HEIGHT, FPS = 448, 224, 15


def frames(count: int, height: int = HEIGHT, width: int = WIDTH) -> list[np.ndarray]:
    """A grey picture that brightens, with a red square that moves."""
    pictures = []
    for index in range(count):
        picture = np.full((height, width, 3), 40 + index, np.uint8)
        picture[10:40, 5 * index : 5 * index + 30] = (220, 30, 30)
        pictures.append(picture)
    return pictures


def write(stem: Path, pictures: list[np.ndarray], outcome: str = "success", **caption: str) -> Path:
    texts = {"task": "put the cube in the bowl", "variant": "float8_e4m3_weights_only"} | caption
    stem.parent.mkdir(parents=True, exist_ok=True)
    writer = VideoWriter(Folder(stem.parent), stem.name, FPS, **texts)
    for step, picture in enumerate(pictures):
        writer.add(picture, step, step / FPS)
    path = writer.close(outcome)
    assert path is not None
    return path


def decode(path: Path) -> np.ndarray:
    """Return the video's pictures, uint8 (count, height, width, 3)."""
    said = subprocess.run([find_ffmpeg(), "-i", path], capture_output=True, text=True, check=False).stderr
    stream = next(line for line in said.splitlines() if "Video:" in line)
    size = next(
        word
        for word in stream.replace(",", " ").split()
        if "x" in word and word[0].isdigit() and "0x" not in word
    )
    width, height = map(int, size.split("x"))
    command = [find_ffmpeg(), "-loglevel", "error", "-i", path, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    raw = subprocess.run(command, capture_output=True, check=True).stdout
    return np.frombuffer(raw, np.uint8).reshape(-1, height, width, 3)


def test_holds_the_frames_then_the_outcome(tmp_path: Path) -> None:
    pictures = frames(30)
    path = write(tmp_path / "videos" / "float32" / "scene_1_ep007", pictures)
    assert path == tmp_path / "videos" / "float32" / "scene_1_ep007_success.mp4"
    assert [found.name for found in path.parent.iterdir()] == [path.name]

    decoded = decode(path)
    assert len(decoded) == 30 + FPS
    for index in (0, 12, 29):
        difference = np.abs(decoded[index][:HEIGHT].astype(int) - pictures[index])
        assert difference.mean() < 3
    band = decoded[10][HEIGHT:]
    assert np.median(band.reshape(-1, 3), axis=0) == pytest.approx(video._BAND, abs=8)
    assert band.max() > 200, "the caption's text is bright"
    assert np.abs(decoded[2][HEIGHT:].astype(int) - decoded[25][HEIGHT:]).max() > 60, (
        "the step's number changes"
    )


def test_the_band_names_the_reason_of_a_failure() -> None:
    bands = []
    for reason in (None, "missed_grasp"):
        band = video._Band("put the cube in the bowl", "int4_both", WIDTH)
        bands.append(band.draw(10, 0.5, "failure", reason).copy())
    without, named = (np.count_nonzero((one == video._TEXT).all(axis=2)) for one in bands)
    assert named > without, "more is written"


@pytest.mark.parametrize("outcome", ["success", "failure", "error"])
def test_the_last_second_has_the_outcomes_colour(tmp_path: Path, outcome: str) -> None:
    decoded = decode(write(tmp_path / "a", frames(5), outcome))
    band = decoded[-1][HEIGHT:].reshape(-1, 3)
    assert np.median(band, axis=0) == pytest.approx(video._OUTCOMES[outcome], abs=10)
    difference = np.abs(decoded[-1][:HEIGHT].astype(int) - frames(5)[-1])
    assert difference.mean() < 3, "the last picture stays"


def test_is_h264_for_every_player(tmp_path: Path) -> None:
    path = write(tmp_path / "a", frames(3))
    said = subprocess.run([find_ffmpeg(), "-i", path], capture_output=True, text=True, check=False).stderr
    assert "Video: h264" in said
    assert "yuv420p" in said
    assert "15 fps" in said
    content = path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat"), (
        "the index comes first, so players can start at once"
    )


def test_same_frames_give_the_same_file(tmp_path: Path) -> None:
    first, second = (write(tmp_path / name, frames(20)) for name in "ab")
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(("height", "width"), [(97, 333), (96, 192), (480, 1281)])
def test_odd_and_small_sizes(tmp_path: Path, height: int, width: int) -> None:
    decoded = decode(write(tmp_path / "a", frames(3, height, width), task="a long instruction " * 20))
    scale = 2 if width == 192 else 1
    assert decoded.shape[1] % 2 == decoded.shape[2] % 2 == 0
    assert 0 <= decoded.shape[2] - scale * width <= 1
    shown = decoded[0][: scale * height : scale, : scale * width : scale]
    assert np.abs(shown.astype(int) - frames(1, height, width)[0]).mean() < 3


def test_discard_leaves_nothing(tmp_path: Path) -> None:
    writer = VideoWriter(Folder(tmp_path), "a", FPS, task="t", variant="p")
    for step, picture in enumerate(frames(10)):
        writer.add(picture, step, 0.0)
    writer.discard()
    writer.discard()
    assert list(tmp_path.iterdir()) == []


def test_no_frame_no_file(tmp_path: Path) -> None:
    assert VideoWriter(Folder(tmp_path), "a", FPS, task="t", variant="p").close("error") is None
    assert list(tmp_path.iterdir()) == []


def test_a_frame_is_copied(tmp_path: Path) -> None:
    picture = np.full((HEIGHT, WIDTH, 3), 200, np.uint8)
    writer = VideoWriter(Folder(tmp_path), "a", FPS, task="t", variant="p")
    writer.add(picture, 0, 0.0)
    picture[:] = 0
    path = writer.close("success")
    assert path is not None
    assert decode(path)[0][:HEIGHT].mean() == pytest.approx(200, abs=3)


def test_wrong_frames_are_refused(tmp_path: Path) -> None:
    writer = VideoWriter(Folder(tmp_path), "a", FPS, task="t", variant="p")
    with pytest.raises(ValueError, match="uint8"):
        writer.add(np.zeros((8, 8, 3), np.float32), 0, 0.0)
    writer.add(frames(1)[0], 0, 0.0)
    with pytest.raises(ValueError, match="one size"):
        writer.add(np.zeros((8, 8, 3), np.uint8), 1, 0.1)
    with pytest.raises(ValueError, match="outcome"):
        writer.close("won")
    writer.discard()


def test_a_dead_encoder_is_reported_with_what_it_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "ffmpeg"
    program.write_text("#!/bin/sh\nhead -c 100000 >/dev/null\necho 'Unknown encoder libx264' >&2\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setattr(video, "find_ffmpeg", lambda: str(program))
    folder = tmp_path / "videos"
    folder.mkdir()
    writer = VideoWriter(Folder(folder), "a", FPS, task="t", variant="p")
    for step in range(3 * video._QUEUE_FRAMES):  # more than the queue holds: a dead encoder must not block
        writer.add(frames(1)[0], step, 0.0)
    with pytest.raises(VideoError, match=r"exit status 3.*Unknown encoder libx264"):
        writer.close("success")
    assert list(folder.iterdir()) == []


def test_an_encoder_that_fails_at_the_end_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "ffmpeg"
    program.write_text("#!/bin/sh\ncat >/dev/null\necho 'height not divisible by 2' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr(video, "find_ffmpeg", lambda: str(program))
    with pytest.raises(VideoError, match="not divisible by 2"):
        write(tmp_path / "a", frames(3))


def test_a_disk_that_takes_no_more_is_no_fault_of_the_encoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "ffmpeg"
    program.write_text("#!/bin/sh\ncat >/dev/null\necho 'Error: No space left on device' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr(video, "find_ffmpeg", lambda: str(program))
    with pytest.raises(
        CannotWrite, match="video a cannot be written: No space left on device; free the disk"
    ):
        write(tmp_path / "a", frames(3))


def test_without_ffmpeg_the_user_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(tmp_path / "absent"))
    find_ffmpeg.cache_clear()
    try:
        with pytest.raises(UserError, match="pip install imageio-ffmpeg"):
            VideoWriter(Folder(tmp_path), "a", FPS, task="t", variant="p")
    finally:
        find_ffmpeg.cache_clear()


def test_an_unwritable_folder_is_the_users_matter(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    folder = Folder(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(CannotWrite, match="the video a cannot be written: No such file"):
        VideoWriter(folder, "a", FPS, task="t", variant="p")


def test_costs_the_loop_less_than_a_millisecond_a_frame(tmp_path: Path) -> None:
    pictures = frames(60)
    writer = VideoWriter(Folder(tmp_path), "a", FPS, task="t", variant="p")
    spent = []
    for step, picture in enumerate(pictures):
        start = time.perf_counter()
        writer.add(picture, step, step / FPS)
        spent.append(time.perf_counter() - start)
        time.sleep(0.005)  # what simulation takes at least
    writer.discard()
    assert np.median(spent) < 1e-3
