"""A run's folder: the journal survives what happens to files, and nothing is overwritten."""

import dataclasses
import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from record_cases import CONFIGURATIONS, TASKS, broken, manifest, record

from headless_eval.errors import UserError
from headless_eval.results import EpisodeRecord, RunDirectory, describe_error
from headless_eval.results import manifest as manifest_module
from headless_eval.shared.files import replacing


@pytest.fixture
def run(tmp_path: Path):
    with RunDirectory.create(tmp_path / "run", manifest()) as run:
        yield run


class TestEpisodeRecord:
    @pytest.mark.parametrize(
        "kept", [record(), record(video=None, task_name='a "b",\n漢字'), broken(), record(sim_s=1)]
    )
    def test_json_round_trip(self, kept: EpisodeRecord) -> None:
        line = kept.to_json()
        assert "\n" not in line
        assert EpisodeRecord.from_dict(json.loads(line)) == kept

    def test_fields_are_the_contracts(self) -> None:
        assert list(json.loads(record().to_json())) == [
            *("configuration", "dtype", "mode", "scope", "task_id", "task_key", "task_name", "instruction"),
            *("episode", "status", "success", "steps", "max_steps", "seed", "replans", "actions_sha256"),
            *("video", "sim_s", "render_s", "infer_s", "total_s", "started_at", "error", "actions"),
        ]

    @pytest.mark.parametrize(
        "changes",
        [
            {"status": "won"},
            {"success": False},
            {"status": "error", "success": False},
            {"error": {"type": "X"}},
        ],
    )
    def test_contradictions_are_refused(self, changes: dict[str, Any]) -> None:
        with pytest.raises(ValueError):
            record(**changes)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"steps": "117"}, "steps = '117'"),
            ({"success": 1}, "success = 1"),
            ({"episode": True}, "episode = True"),
            ({"error": "bad"}, "error = 'bad'"),
            ({"success": False}, "contradicts"),
        ],
    )
    def test_damaged_fields_are_named(self, changes: dict[str, Any], message: str) -> None:
        with pytest.raises(UserError, match=re.escape(message)):
            EpisodeRecord.from_dict(record().to_dict() | changes)

    def test_a_missing_field_is_named_and_an_unknown_one_ignored(self) -> None:
        fields = record().to_dict()
        assert EpisodeRecord.from_dict(fields | {"added_later": 1}) == record()
        del fields["replans"]
        with pytest.raises(UserError, match="lacks replans"):
            EpisodeRecord.from_dict(fields)

    def test_describe_error_keeps_the_whole_story(self) -> None:
        try:
            try:
                raise KeyError("prompt")
            except KeyError as error:
                raise UserError("no prompt") from error
        except UserError as error:
            kept = describe_error(error)
        assert kept["type"] == "headless_eval.errors.UserError"
        assert kept["message"] == "no prompt"
        assert "KeyError: 'prompt'" in kept["traceback"]
        assert "test_results.py" in kept["traceback"]


class TestJournal:
    def test_what_is_appended_is_read(self, run: RunDirectory) -> None:
        written = [record(episode=0), broken(episode=1), record(episode=2, task_name="ü")]
        for index, one in enumerate(written):
            run.append(one)
            assert list(RunDirectory.open(run.path).journal()) == written[: index + 1]

    def test_each_line_is_on_disk_before_append_returns(
        self, run: RunDirectory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        synced = []
        fsync = os.fsync

        def watch(file: int) -> None:
            synced.append(Path(f"/proc/self/fd/{file}").resolve().read_bytes())
            fsync(file)

        monkeypatch.setattr(os, "fsync", watch)
        run.append(record())
        assert synced == [record().to_json().encode() + b"\n"]

    @pytest.mark.parametrize("tail", [b'{"configuration":"floa', b"\0" * 300, b'{"a":\xff', b"\0\0\n"])
    def test_a_torn_last_line_is_dropped_with_a_notice(
        self, run: RunDirectory, tail: bytes, caplog: pytest.LogCaptureFixture
    ) -> None:
        run.append(record(episode=0))
        run.append(record(episode=1))
        run.close()
        journal = run.path / "journal.jsonl"
        whole = journal.read_bytes()
        journal.write_bytes(whole + tail)

        assert [one.episode for one in RunDirectory.open(run.path).records()] == [0, 1]
        assert "torn last line" in caplog.text
        assert journal.read_bytes() == whole + tail, "reading changes nothing"
        with RunDirectory.open(run.path, write=True) as again:
            again.append(record(episode=2))
        assert journal.read_bytes() == whole + record(episode=2).to_json().encode() + b"\n"

    def test_every_cut_loses_at_most_the_last_episode(self, run: RunDirectory) -> None:
        lines = [record(episode=episode, task_name="ü").to_json().encode() + b"\n" for episode in range(2)]
        run.close()
        for length in range(len(b"".join(lines)) + 1):
            (run.path / "journal.jsonl").write_bytes(b"".join(lines)[:length])
            # A line that lacks nothing but its end of line is whole.
            whole = (length >= len(lines[0]) - 1) + (length >= len(lines[0]) + len(lines[1]) - 1)
            with RunDirectory.open(run.path, write=True) as again:
                assert len(again.records()) == whole
                again.append(record(episode=9))
            assert [one.episode for one in again.journal()] == [*range(whole), 9]

    def test_a_damaged_line_before_the_last_is_an_error(self, run: RunDirectory) -> None:
        for episode in range(3):
            run.append(record(episode=episode))
        run.close()
        journal = run.path / "journal.jsonl"
        lines = journal.read_bytes().splitlines(keepends=True)
        journal.write_bytes(lines[0] + b"garbage\n" + lines[2])
        for write in (False, True):
            with pytest.raises(UserError, match="line 2: not a JSON object"):
                RunDirectory.open(run.path, write=write).records()
        journal.write_bytes(lines[0] + b'{"episode": 1}\n')
        with pytest.raises(UserError, match="line 2: the episode's record lacks configuration"):
            RunDirectory.open(run.path).records()

    def test_a_full_disk_leaves_the_journal_whole(
        self, run: RunDirectory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run.append(record(episode=0))
        write = os.write

        def half(file: int, data: bytes) -> int:
            if len(data) < 100:
                raise OSError(28, "No space left on device")
            return write(file, data[: len(data) - 50])

        monkeypatch.setattr(os, "write", half)
        with pytest.raises(UserError, match="No space left on device"):
            run.append(record(episode=1))
        monkeypatch.undo()
        run.append(record(episode=2))
        assert [one.episode for one in run.journal()] == [0, 2]

    def test_a_killed_process_loses_nothing_it_recorded(self, run: RunDirectory) -> None:
        run.close()
        code = (
            "import sys, json; from headless_eval.results import *\n"
            "run = RunDirectory.open(sys.argv[1], write=True)\n"
            "fields = json.loads(sys.argv[2])\n"
            "for episode in range(10**9):\n"
            "    run.append(EpisodeRecord.from_dict(fields | {'episode': episode})); print(episode, flush=True)\n"
        )
        command = [sys.executable, "-c", code, str(run.path), record().to_json()]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) == 40:
                break
        process.send_signal(signal.SIGKILL)
        last = [40, *(int(line) for line in process.stdout.read().split("\n")[:-1])][-1]
        process.wait()
        with RunDirectory.open(run.path, write=True) as again:  # the lock went with the process
            episodes = [one.episode for one in again.records()]
        assert episodes == list(range(len(episodes)))
        assert last < len(episodes) <= last + 2


class TestOrder:
    def test_is_the_manifests_whatever_the_order_of_ending(self, run: RunDirectory) -> None:
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

    def test_a_retried_trial_counts_once_as_it_ended_last(self, run: RunDirectory) -> None:
        run.append(broken())
        run.append(record())
        assert run.records() == [record()]
        assert list(run.journal()) == [broken(), record()]


class TestFolder:
    def test_a_new_run_says_that_it_is_running(self, run: RunDirectory) -> None:
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
    def test_an_exception_closes_the_run(
        self, tmp_path: Path, error: BaseException, status: str, code: int
    ) -> None:
        with pytest.raises(type(error)), RunDirectory.create(tmp_path / "run", manifest()):
            raise error
        kept = RunDirectory.open(tmp_path / "run", write=True).manifest
        assert (kept["status"], kept["exit_status"]) == (status, code)

    def test_the_default_is_a_timestamp_under_results(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        runs = [RunDirectory.create(None, manifest()) for _ in range(3)]
        assert len({run.path for run in runs}) == 3
        for run in runs:
            assert re.fullmatch(r"results/\d{8}_\d{6}(_\d)?", run.path.as_posix())
            run.close()

    @pytest.mark.parametrize(
        "mark", ["journal.jsonl", "manifest.json", "results.json", "libero_results.csv", "videos/x.mp4"]
    )
    def test_a_folder_that_holds_results_is_left_alone(self, tmp_path: Path, mark: str) -> None:
        path = tmp_path / mark
        path.parent.mkdir(exist_ok=True)
        path.write_text("precious")
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(UserError, match="already holds a run"):
            RunDirectory.create(tmp_path, manifest())
        assert sorted(tmp_path.rglob("*")) == before
        assert path.read_text() == "precious"

    def test_what_was_killed_before_its_manifest_is_no_run(self, tmp_path: Path) -> None:
        (tmp_path / "journal.jsonl").touch()
        RunDirectory.check(tmp_path)
        with RunDirectory.create(tmp_path, manifest()) as run:
            with pytest.raises(UserError, match="already holds a run"):
                RunDirectory.check(tmp_path)
            run.append(record())
        assert len(RunDirectory.open(tmp_path).records()) == 1

    def test_an_empty_folder_or_one_with_other_files_will_do(self, tmp_path: Path) -> None:
        (tmp_path / "README.md").write_text("")
        RunDirectory.create(tmp_path, manifest()).close()

    def test_unwritable_places_are_the_users_matter(self, tmp_path: Path) -> None:
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
    def test_a_folder_without_permission_is_the_users_matter(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o500)
        with pytest.raises(UserError, match="Permission denied"):
            RunDirectory.create(tmp_path / "run", manifest())

    def test_a_failed_start_leaves_the_folder_free(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: Any) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("headless_eval.results.directory.replacing", full)
        with pytest.raises(UserError, match="No space left"):
            RunDirectory.create(tmp_path / "run", manifest())
        monkeypatch.undo()
        RunDirectory.create(tmp_path / "run", manifest()).close()

    def test_a_folder_of_format_1_is_read_and_rewritten(self, run: RunDirectory) -> None:
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
        with pytest.raises(UserError, match="an entry of 'configurations' has no 'name'"):
            RunDirectory.open(run.path)

    def test_what_is_no_run_is_refused(self, run: RunDirectory, tmp_path: Path) -> None:
        run.close()
        path = run.path / "manifest.json"
        good = json.loads(path.read_text())
        cases: list[tuple[str, str]] = [
            ("{", "not JSON"),
            ("[]", "not a JSON object"),
            (json.dumps(good | {"suite": "../../x"}), "'suite' is not a name"),
            (json.dumps(good | {"tasks": [1]}), "'tasks' is not a list of objects"),
            (json.dumps(good | {"variants": [{}]}), "an entry of 'variants' has no 'name'"),
            (json.dumps({key: good[key] for key in good if key != "format"}), "'format' is not a number"),
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

    def test_two_processes_cannot_write_one_run(self, run: RunDirectory) -> None:
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

    def test_video_names(self, run: RunDirectory) -> None:
        stem = run.video_stem("float8_e4m3_weights_only", "scene_3", 7)
        assert run.relative(stem) == "videos/float8_e4m3_weights_only/scene_3_ep007"
        assert run.relative(run.video_stem("../..", "a/b c", 1234)) == "videos/_../a_b_c_ep1234"

    def test_append_needs_a_run_open_for_writing(self, run: RunDirectory) -> None:
        with pytest.raises(RuntimeError):
            RunDirectory.open(run.path).append(record())
        run.close()
        run.close()
        with pytest.raises(RuntimeError):
            run.append(record())


class TestManifest:
    def test_says_what_ran_and_where(self) -> None:
        kept = json.loads(json.dumps(manifest(gl_renderer="llvmpipe", command=["headless-eval", "run"])))
        assert kept["tasks"][0] == dataclasses.asdict(TASKS[0])
        assert kept["variants"][1] == vars(CONFIGURATIONS[1].precision)
        assert (kept["suite"], kept["episodes"], kept["seed"], kept["headless"]) == ("droid", 5, 7, True)
        assert kept["policy"]["fingerprint"] == "f" * 64
        assert kept["command"] == ["headless-eval", "run"]
        for name in ("headless_eval", "python", "torch", "mujoco", "numpy"):
            assert re.match(r"\d+\.\d+", kept["versions"][name])
        assert kept["hardware"]["gl_renderer"] == "llvmpipe"
        assert kept["hardware"]["cpu_count"] >= 1
        assert kept["hardware"]["cpu"]

    def test_the_sources_hash_changes_with_any_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(manifest_module, "_PACKAGE", tmp_path)
        (tmp_path / "sims").mkdir()
        (tmp_path / "a.py").write_text("x = 1")
        (tmp_path / "sims" / "b.py").write_text("y = 2")
        hashes = [manifest_module.source()["sha256"]]
        (tmp_path / "sims" / "b.py").write_text("y = 3")
        hashes.append(manifest_module.source()["sha256"])
        (tmp_path / "sims" / "b.py").rename(tmp_path / "b.py")
        hashes.append(manifest_module.source()["sha256"])
        (tmp_path / "notes.txt").write_text("not source")
        assert manifest_module.source()["sha256"] == hashes[-1]
        assert len(set(hashes)) == 3

    def test_no_commit_is_claimed_for_an_installed_package(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # A package under somebody else's work tree, such as a virtual environment inside a project.
        subprocess.run(["git", "init", "-q", tmp_path], check=True)
        package = tmp_path / "venv" / "headless_eval"
        package.mkdir(parents=True)
        monkeypatch.setattr(manifest_module, "_PACKAGE", package)
        assert manifest_module.source()["git_commit"] is None


def test_replacing_is_all_or_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def fail() -> None:
        with replacing(path) as file:
            file.write("half of the new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old"
    with replacing(path) as file:
        file.write("new\n")
        assert path.read_text() == "old"
    assert path.read_text() == "new\n"
    assert list(tmp_path.iterdir()) == [path]


def _open_to_write(path: Path, queue: Any) -> None:
    try:
        RunDirectory.open(path, write=True)
        queue.put("opened")
    except UserError as error:
        queue.put(str(error))
