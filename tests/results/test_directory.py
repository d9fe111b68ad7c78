"""A run's folder: nothing is overwritten, one process writes it, and records are in order."""

import json
import multiprocessing
import os
import re
from pathlib import Path
from typing import Any

import pytest
from record_cases import broken, manifest, record

from headless_eval.errors import UserError
from headless_eval.results import RunDirectory


def test_is_the_manifests_whatever_the_order_of_ending(run: RunDirectory) -> None:
    both = {"configuration": "boolean_both", "dtype": "boolean", "mode": "both"}
    second = {"task_id": 2, "task_key": "scene_2"}
    for changes in (both, second, {"episode": 1}, {}, both | second):
        run.append(record(**changes))
    trials = [one.trial for one in run.records()]
    assert trials == [
        ("float32", 2, 0),  # the manifest names scene 2 first
        ("float32", 1, 0),
        ("float32", 1, 1),
        ("boolean_both", 2, 0),
        ("boolean_both", 1, 0),
    ]


def test_a_retried_trial_counts_once_as_it_ended_last(run: RunDirectory) -> None:
    run.append(broken())
    run.append(record())
    assert run.records() == [record()]
    assert list(run.journal()) == [broken(), record()]


def test_a_new_run_says_that_it_is_running(run: RunDirectory) -> None:
    kept = json.loads((run.path / "manifest.json").read_text())
    assert kept["status"] == "running"
    assert kept["exit_status"] is kept["finished_at"] is None
    run.finish(1)
    kept = json.loads((run.path / "manifest.json").read_text())
    assert (kept["status"], kept["exit_status"]) == ("finished", 1)
    assert kept["finished_at"] >= kept["started_at"]
    assert sorted(path.name for path in run.path.iterdir()) == ["journal.jsonl", "manifest.json"]


@pytest.mark.parametrize(
    ("error", "status", "code"), [(KeyboardInterrupt(), "interrupted", 130), (OSError("x"), "failed", 1)]
)
def test_an_exception_closes_the_run(tmp_path: Path, error: BaseException, status: str, code: int) -> None:
    with pytest.raises(type(error)), RunDirectory.create(tmp_path / "run", manifest()):
        raise error
    kept = RunDirectory.open(tmp_path / "run", write=True).manifest
    assert (kept["status"], kept["exit_status"]) == (status, code)


def test_the_default_is_a_timestamp_under_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runs = [RunDirectory.create(None, manifest()) for _ in range(3)]
    assert len({run.path for run in runs}) == 3
    for run in runs:
        assert re.fullmatch(r"results/\d{8}_\d{6}(_\d)?", run.path.as_posix())
        run.close()


@pytest.mark.parametrize(
    "mark", ["journal.jsonl", "manifest.json", "results.json", "libero_results.csv", "videos/x.mp4"]
)
def test_a_folder_that_holds_results_is_left_alone(tmp_path: Path, mark: str) -> None:
    path = tmp_path / mark
    path.parent.mkdir(exist_ok=True)
    path.write_text("precious")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match="already holds a run"):
        RunDirectory.create(tmp_path, manifest())
    assert sorted(tmp_path.rglob("*")) == before
    assert path.read_text() == "precious"


def test_what_was_killed_before_its_manifest_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").touch()
    RunDirectory.check(tmp_path)
    with RunDirectory.create(tmp_path, manifest()) as run:
        with pytest.raises(UserError, match="already holds a run"):
            RunDirectory.check(tmp_path)
        run.append(record())
    assert len(RunDirectory.open(tmp_path).records()) == 1


def test_an_empty_folder_or_one_with_other_files_will_do(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("")
    RunDirectory.create(tmp_path, manifest()).close()


def test_unwritable_places_are_the_users_matter(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    for path, message in (
        (file, "is not a folder"),
        (file / "run", "Not a directory"),
        (Path("/proc/run"), "cannot write"),
    ):
        with pytest.raises(UserError, match=message):
            RunDirectory.create(path, manifest())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_the_users_matter(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="Permission denied"):
        RunDirectory.create(tmp_path / "run", manifest())


def test_a_failed_start_leaves_the_folder_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("headless_eval.results.directory.Folder.replacing", full)
    with pytest.raises(UserError, match="No space left"):
        RunDirectory.create(tmp_path / "run", manifest())
    monkeypatch.undo()
    RunDirectory.create(tmp_path / "run", manifest()).close()


def test_a_folder_of_format_1_is_read_and_rewritten(run: RunDirectory) -> None:
    run.close()
    path = run.path / "manifest.json"
    old = json.loads(path.read_text()) | {"format": 1}
    old["configurations"] = old.pop("variants")
    del old["baseline"]
    path.write_text(json.dumps(old))
    with RunDirectory.open(run.path, write=True) as run:
        assert run.variants == [entry["name"] for entry in old["configurations"]]
        assert run.baseline == "float32"
        run.update_manifest(status="interrupted")
    new = json.loads(path.read_text())
    assert (new["format"], new["variants"]) == (2, old["configurations"])
    assert "configurations" not in new
    path.write_text(json.dumps(old | {"configurations": [{}]}))
    with pytest.raises(UserError, match=r"'variants\[0\]': lacks name"):
        RunDirectory.open(run.path)


def test_what_is_no_run_is_refused(run: RunDirectory, tmp_path: Path) -> None:
    run.close()
    path = run.path / "manifest.json"
    good = json.loads(path.read_text())
    cases: list[tuple[str, str]] = [
        ("{", "not JSON"),
        ("[]", "not a JSON object"),
        (json.dumps(good | {"suite": "../../x"}), "'suite': expected str matching regex"),
        (json.dumps(good | {"tasks": [1]}), "'tasks[0]': expected object, got int"),
        (json.dumps(good | {"variants": [{}]}), "'variants[0]': lacks name"),
        (json.dumps({key: good[key] for key in good if key != "format"}), "lacks format"),
        (json.dumps(good | {"format": 99}), "later version"),
    ]
    for text, message in cases:
        path.write_text(text)
        with pytest.raises(UserError, match=re.escape(message)):
            RunDirectory.open(run.path)
    path.unlink()
    for folder in (run.path, tmp_path, tmp_path / "absent"):
        with pytest.raises(UserError, match="holds no run"):
            RunDirectory.open(folder)


def test_two_processes_cannot_write_one_run(run: RunDirectory) -> None:
    with pytest.raises(UserError, match="being written by another process"):
        RunDirectory.open(run.path, write=True)
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    other = context.Process(target=_open_to_write, args=(run.path, queue))
    other.start()
    assert "being written by another process" in queue.get(timeout=60)
    other.join()
    run.close()
    RunDirectory.open(run.path, write=True).close()


def test_video_names(run: RunDirectory) -> None:
    for names, expected in (
        (("float8_e4m3_weights_only", "scene_3", 7), "videos/float8_e4m3_weights_only/scene_3_ep007"),
        (("../..", "a/b c", 1234), "videos/_../a_b_c_ep1234"),
    ):
        folder, name = run.video_place(*names)
        assert run.relative(folder.path / name) == expected


def test_append_needs_a_run_open_for_writing(run: RunDirectory) -> None:
    with pytest.raises(RuntimeError):
        RunDirectory.open(run.path).append(record())
    run.close()
    run.close()
    with pytest.raises(RuntimeError):
        run.append(record())


def _open_to_write(path: Path, queue: Any) -> None:
    try:
        RunDirectory.open(path, write=True)
        queue.put("opened")
    except UserError as error:
        queue.put(str(error))
