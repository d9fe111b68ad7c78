"""Policies that fork, hang, leave the program or reply by chance; kills (shared/foreign.py, runs/execution.py)."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from datetime import datetime, timedelta

import pytest

from headless_eval.cli.main import main
from headless_eval.results import RunDirectory

POLICIES = '''
import os, signal, sys, time
from pathlib import Path

import numpy as np


class Still:
    stateless = True

    def __init__(self):
        self.asked = 0

    def infer(self, obs):
        self.asked += 1
        if self.asked == 6:  # in an episode, after the rehearsal
            self.misbehave()
        return {"actions": np.zeros((8, 8), np.float32)}


class StartsWorker(Still):
    """Forks a process that stays, as multiprocessing does."""

    def misbehave(self):
        process = os.fork()
        if process == 0:
            time.sleep(100)
            os._exit(0)
        Path("worker").write_text(str(process))


class ForksAndGoesOn(Still):
    def misbehave(self):
        Path(f"child of {os.fork()}").touch()


class ForksAndRaises(Still):
    def misbehave(self):
        if os.fork() == 0:
            raise ValueError("in the child")


class Leaves(Still):
    def misbehave(self):
        sys.exit(0)


class Hangs(Still):
    def misbehave(self):
        if not Path("hung").exists():
            Path("hung").touch()
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
            time.sleep(1000)


class ByChance(Still):
    """Replies twice the same at first, by which it looks repeatable, and by chance later."""

    def infer(self, obs):
        self.asked += 1
        actions = np.zeros((8, 8), np.float32)
        if self.asked > 4:
            actions[:] = np.frombuffer(os.urandom(8), np.uint8) / 5000
        return {"actions": actions}


class LeavesAtOnce(Still):
    def __init__(self):
        sys.exit(0)
'''


@pytest.fixture
def flags(tmp_path, monkeypatch):
    """What ``run`` takes for a policy of ``POLICIES``; the present folder is empty but for their file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(POLICIES)

    def of(name, *more):
        fixed = [
            "--dtypes",
            "float32",
            "--tasks",
            "1",
            "--slots",
            "1",
            "--max-steps",
            "16",
            "--results",
            "run",
        ]
        return ["run", "--policy", f"./mine.py:{name}", *fixed, "--quiet", *more]

    return of


def statuses():
    return [record.status for record in RunDirectory.open("run").records()]


def test_a_worker_that_a_policy_forks_holds_up_neither_videos_nor_the_run(flags, tmp_path):
    began = time.monotonic()
    try:
        assert main(flags("StartsWorker", "--episodes", "4", "--videos", "all")) == 0
        assert time.monotonic() - began < 60
        worker = int((tmp_path / "worker").read_text())
        os.kill(worker, 0)  # it is there still
        assert statuses() == ["failure"] * 4
        assert len(list((tmp_path / "run").rglob("*.mp4"))) == 4
        RunDirectory.open("run", write=True).close()  # and does not hold the lock
    finally:
        with contextlib.suppress(OSError):
            os.kill(int((tmp_path / "worker").read_text()), signal.SIGKILL)


@pytest.mark.parametrize("name", ["ForksAndGoesOn", "ForksAndRaises"])
def test_a_child_that_comes_back_ends_and_the_run_is_its_parents(flags, name, capfd):
    assert main(flags(name, "--episodes", "4", "--videos", "all")) == 0
    assert statuses() == ["failure"] * 4
    assert len(list(RunDirectory.open("run").journal())) == 4
    for _ in range(100):
        if "came back" in (said := capfd.readouterr().err):
            break
        time.sleep(0.1)
    assert "a forked process came back from its parent's call: it ends" in said


def test_a_policy_that_leaves_the_program_is_an_error_of_its_episode(flags):
    assert main(flags("Leaves", "--episodes", "4", "--videos", "none")) == 1
    records = RunDirectory.open("run").records()
    (broken,) = [record for record in records if record.status == "error"]
    assert broken.error["message"] == "sys.exit(0) was called"
    manifest = RunDirectory.open("run").manifest
    assert (manifest["status"], manifest["exit_status"]) == ("finished", 1)


def test_a_policy_that_leaves_when_it_is_made_is_one_line(flags, capsys):
    assert main(flags("LeavesAtOnce")) == 2
    assert "cannot be made (RuntimeError: sys.exit(0) was called" in capsys.readouterr().err


@pytest.mark.slow
def test_a_policy_that_hangs_and_takes_no_signals_is_an_error_and_the_run_goes_on(flags, tmp_path):
    command = [
        sys.executable,
        "-m",
        "headless_eval",
        *flags("Hangs", "--episodes", "4", "--episode-timeout", "2"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1, done.stderr
    assert "infer did not return within 2 s; going on in a fresh process" in done.stderr
    assert sorted(statuses()) == ["error", "failure", "failure", "failure"]
    assert RunDirectory.open("run").manifest["exit_status"] == 1


def test_a_policy_that_replies_by_chance_does_not_verify(flags, capsys):
    assert main(flags("ByChance", "--episodes", "3", "--videos", "none")) == 0
    assert RunDirectory.open("run").manifest["policy"]["determinism"] == "checked"
    capsys.readouterr()
    assert main(["verify", "run", "--all"]) == 1
    said = capsys.readouterr().out
    assert said.startswith("3 of 3 trials differ")
    assert "something here is not deterministic" in said


KILLED = """
import os, signal, sys
from headless_eval.cli.main import main
from headless_eval.results import journal
from headless_eval.rollout.video import VideoWriter

append, appended, written = journal.JournalWriter.append, 0, 0
write = VideoWriter.add

def half(self, record):
    global appended
    appended += 1
    if sys.argv[1] == "journal" and appended == 2:
        line = record.to_json().encode()
        os.write(self._file, line[: len(line) // 2])
        os.kill(os.getpid(), signal.SIGKILL)
    append(self, record)

def add(self, *frame):
    global written
    written += 1
    write(self, *frame)
    if sys.argv[1] == "video" and appended and written >= 100:
        os.kill(os.getpid(), signal.SIGKILL)

journal.JournalWriter.append, VideoWriter.add = half, add
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.parametrize(
    ("where", "steps"), [("journal", 8), pytest.param("video", 40, marks=pytest.mark.slow)]
)
def test_a_run_that_is_killed_while_it_writes_ends_as_one_that_is_not(tmp_path, where, steps):
    flags = ["--policy", "random", "--dtypes", "float32", "--tasks", "1", "--episodes", "4", "--slots", "2"]
    flags = ["run", *flags, "--max-steps", str(steps), "--video-fps", "15", "--quiet", "--results"]
    folder, whole = tmp_path / "killed", tmp_path / "whole"
    done = subprocess.run([sys.executable, "-c", KILLED, where, *flags, str(folder)], timeout=120)
    assert done.returncode == -signal.SIGKILL
    assert len(RunDirectory.open(folder).records()) < 4
    assert bool(list(folder.rglob("*.part"))) == (where == "video")
    assert main(["run", "--resume", str(folder), "--quiet"]) == 0
    assert main([*flags, str(whole)]) == 0
    same = ("trial", "status", "actions_sha256", "video", "initial_state_sha256")
    got, expected = (
        [[getattr(record, name) for name in same] for record in RunDirectory.open(one).records()]
        for one in (folder, whole)
    )
    assert got == expected
    names = [{path.relative_to(one) for path in one.rglob("*") if path.is_file()} for one in (folder, whole)]
    assert names[0] == names[1]
    for name in ("scene_1_ep000_failure.mp4", "scene_1_ep003_failure.mp4"):
        inside = f"videos/float32/{name}"
        assert (folder / inside).read_bytes() == (whole / inside).read_bytes()


def test_a_clock_that_goes_backwards_changes_no_result(tmp_path, monkeypatch):
    """The time of day is written down; nothing is computed from it."""

    class Backwards(datetime):
        calls = 0

        @classmethod
        def now(cls, tz=None):
            cls.calls += 1
            return datetime(2026, 1, 1, tzinfo=tz) - timedelta(hours=cls.calls)

    for module in ("loop", "results.directory", "results.manifest", "runs.resume", "report.view"):
        monkeypatch.setattr(f"headless_eval.{module}.datetime", Backwards)
    monkeypatch.setattr(time, "time", lambda: 1e9 - time.monotonic())
    monkeypatch.chdir(tmp_path)
    folder = "backwards"
    words = [
        "run",
        "--policy",
        "random",
        "--dtypes",
        "float32",
        "--tasks",
        "1",
        "--max-steps",
        "16",
        "--quiet",
    ]
    assert main([*words, "--episodes", "2", "--videos", "none", "--results", folder]) == 0
    run = RunDirectory.open(folder)
    began = [datetime.fromisoformat(record.started_at) for record in run.journal()]
    assert began == sorted(began, reverse=True)
    assert datetime.fromisoformat(run.manifest["finished_at"]) < datetime.fromisoformat(
        run.manifest["started_at"]
    )
    assert all(record.total_s > 0 for record in run.journal())
    assert run.manifest["time"]["total_s"] > 0
    assert main(["report", folder]) == main(["view", "."]) == main(["verify", folder]) == 0
