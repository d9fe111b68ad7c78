"""The trackers' own packages, without a network: what was sent is read back."""

import shutil
from time import monotonic, sleep

import numpy as np
import pytest

from headless_eval.cli.main import main
from headless_eval.report import summarize_run
from headless_eval.report.trackers.tracking import values_of
from headless_eval.results import RunDirectory
from headless_eval.rollout.video import VideoWriter

RATE = "float32/success_rate"


@pytest.fixture
def filmed(finished, tmp_path, monkeypatch):
    """A finished run, one of whose episodes has a video; the present folder is empty."""
    folder = shutil.copytree(finished, tmp_path / "filmed")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    record = RunDirectory.open(folder).records()[0]
    with RunDirectory.open(folder, write=True) as run:
        place = run.video_place("float32", "scene_1", 0)
    writer = VideoWriter(*place, 5.0, task="one", variant="float32")
    for step in range(3):
        writer.add(np.full((48, 64, 3), 80 * step, np.uint8), step, step / 5)
    path = writer.close(record.status)
    assert path is not None
    journal = folder / "journal.jsonl"
    lines = journal.read_text("utf-8").splitlines()
    lines[0] = lines[0].replace('"video":null', f'"video":"{path.relative_to(folder)}"')
    assert path.name in lines[0]
    journal.write_text("\n".join(lines) + "\n", "utf-8")
    return folder


def values(folder):
    return values_of(summarize_run(RunDirectory.open(folder)))


def test_tensorboard_reads_numbers_text_and_videos(filmed):
    pytest.importorskip("tensorboard", reason="the extra tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert main(["report", str(filmed), "--track", "tensorboard"]) == 0
    events = EventAccumulator(str(filmed / "tensorboard"), size_guidance={"images": 0})
    events.Reload()
    for name, value in values(filmed).items():
        (scalar,) = events.Scalars(name)
        assert (scalar.step, scalar.value) == (6, pytest.approx(value))
    (video,) = events.Images("videos/float32/scene_1_ep000_failure")
    assert video.encoded_image_string.startswith(b"GIF8")
    assert (video.width, video.height) == (240, 207)  # with the caption below the picture
    (settings,) = events.Tensors("settings")
    assert b"| policy | random |" in settings.tensor_proto.string_val[0]


def test_wandb_keeps_a_run_offline(filmed, monkeypatch):
    wandb = pytest.importorskip("wandb", reason="the extra wandb is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert main(["report", str(filmed), "--track", "wandb"]) == 0
    assert wandb.run is None
    (folder,) = (filmed / "wandb").glob("offline-run-*")
    names = (RATE, "policy", "videos/float32/scene_1_ep000_failure")
    deadline = monotonic() + 20  # wandb's own process may write the last of it a little later
    while missing := [
        name for name in names if name.encode() not in next(folder.glob("*.wandb")).read_bytes()
    ]:
        assert monotonic() < deadline, missing
        sleep(0.1)
    assert list(folder.rglob("*.mp4"))
    (page,) = folder.rglob("*.html")
    assert page.read_text("utf-8") == (filmed / "report.html").read_text("utf-8")


def test_mlflow_keeps_one_run_for_all_sessions(filmed, tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    for _ in range(2):
        assert main(["report", str(filmed), "--track", "mlflow"]) == 0
    client = mlflow.MlflowClient()
    (run,) = client.search_runs([client.get_experiment_by_name("headless-eval").experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.params["policy"] == "random"
    for name, value in values(filmed).items():
        assert run.data.metrics[name] == pytest.approx(value)
    names = {
        one.path
        for folder in ("", "videos/float32")
        for one in client.list_artifacts(run.info.run_id, folder)
    }
    assert {"report.html", "videos/float32/scene_1_ep000_failure.mp4"} <= names


def test_trackio_keeps_a_run_in_its_database(filmed, tmp_path):
    pytest.importorskip("trackio", reason="the extra trackio is not installed")
    from trackio.sqlite_storage import SQLiteStorage

    assert main(["report", str(filmed), "--track", "trackio"]) == 0
    (name,) = SQLiteStorage.get_runs("headless-eval")
    logged = {
        key: value for row in SQLiteStorage.get_logs("headless-eval", name) for key, value in row.items()
    }
    assert logged[RATE] == pytest.approx(values(filmed)[RATE])
    assert "report" in logged
    assert "videos/float32/scene_1_ep000_failure" in logged
