"""What breaks during a run ends what it must and nothing else. In the loop itself: test_loop.py."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from headless_eval.cli.main import main
from headless_eval.local_policy import LocalPolicy
from headless_eval.results import RunDirectory
from headless_eval.rollout import video
from headless_eval.rollout.watchdog import Watchdog

FLAGS = ["--policy", "zero", "--dtypes", "float32", "--tasks", "1"]


def unshare(*flags):
    """Whether this process may make such namespaces."""
    program = shutil.which("unshare")
    return (
        program is not None and subprocess.run([program, *flags, "true"], capture_output=True).returncode == 0
    )


def python(script, *arguments, prefix=()):
    command = [*prefix, sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


# The disk


@pytest.mark.skipif(not unshare("-rm"), reason="mounting a small disk needs user namespaces")
@pytest.mark.parametrize(("videos", "episodes"), [("none", 5), ("all", 3)])
def test_a_full_disk_stops_the_run_in_one_line_and_loses_nothing(tmp_path, videos, episodes):
    small, saved = tmp_path / "small", tmp_path / "saved"
    small.mkdir()
    flags = [*FLAGS, "--videos", videos, "--video-fps", "1", "--episodes", str(episodes), "--quiet"]
    script = f"""
mount -t tmpfs -o size=64k none {small} || exit 99
{sys.executable} -m headless_eval run {" ".join(flags)} --results {small}/run
status=$?
cp -r {small}/run {saved}
exit $status
"""
    done = subprocess.run(["unshare", "-rm", "sh", "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert "No space left on device; free the disk and resume" in done.stderr
    run = RunDirectory.open(saved)
    records = run.records()
    assert len(records) < episodes
    assert all(record.status == "failure" for record in records)
    assert all(run.actions(record) is not None for record in records)
    # With room again the run goes on to its end.
    assert main(["run", "--resume", str(saved), "--quiet"]) == 0
    assert len(RunDirectory.open(saved).records()) == episodes


# The encoder


def test_an_encoder_that_dies_is_an_error_of_its_episodes(short_episodes, tmp_path, monkeypatch):
    dying = tmp_path / "ffmpeg"
    dying.write_text(
        f'#!/bin/sh\ncase $* in *ep000*) exec {video.find_ffmpeg()} "$@";; esac\n'
        "head -c 1000 >/dev/null\necho out of luck >&2\nexit 3\n"
    )
    dying.chmod(0o755)
    monkeypatch.setattr(video, "find_ffmpeg", lambda: str(dying))
    folder = tmp_path / "run"
    assert main(["run", *FLAGS, "--episodes", "2", "--results", str(folder), "--quiet"]) == 1
    good, record = RunDirectory.open(folder).records()
    assert (good.status, record.status) == ("failure", "error")
    assert record.error["type"] == "headless_eval.rollout.video.VideoError"
    assert "out of luck" in record.error["message"]
    assert "Traceback" in record.error["traceback"]
    assert [path.name for path in folder.rglob("*.mp4*")] == ["scene_1_ep000_failure.mp4"]


# Time

HANGS = """
import sys, time
from headless_eval.cli.main import main
from headless_eval.sims.droid.mujoco import simulator as mujoco_sim

step, steps = mujoco_sim.Slot.step, 0

def stepped(slot, action):
    global steps
    steps += 1
    if steps == 500:  # in the second episode
        time.sleep(1000)
    return step(slot, action)

mujoco_sim.Slot.step = stepped
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(("retries", "status"), [pytest.param(0, 1, marks=pytest.mark.slow), (1, 0)])
def test_a_step_that_never_returns_is_an_error_and_the_run_goes_on(tmp_path, retries, status):
    folder = tmp_path / "run"
    flags = [*FLAGS, "--episodes", "2", "--slots", "1", "--videos", "none", "--episode-timeout", "3"]
    done = python(HANGS, "run", *flags, "--retries", retries, "--results", folder, "--quiet")
    assert done.returncode == status, done.stderr
    assert done.stderr == "headless-eval: sim did not return within 3 s; going on in a fresh process\n"
    run = RunDirectory.open(folder)
    journal = list(run.journal())
    assert [record.status for record in journal].count("error") == 1
    (hung,) = [record for record in journal if record.status == "error"]
    assert hung.error["type"] == "EpisodeTimeout"
    assert "step" in hung.error["traceback"]
    assert 0 < hung.steps < hung.max_steps
    assert len(run.records()) == 2
    assert run.manifest["status"] == "finished"


def test_the_watchdog_names_the_call_and_where_it_hangs():
    told = []
    with Watchdog(0.2, lambda *facts: told.append(facts)) as watchdog:
        for _ in range(5):  # none of them is long
            with watchdog.watch("sim", ["a"]):
                time.sleep(0.1)
        assert not told
        with watchdog.watch("infer", ["b", "c"]):
            time.sleep(0.6)
    ((activity, episodes, stack),) = told
    assert (activity, episodes) == ("infer", ["b", "c"])
    assert "time.sleep(0.6)" in stack


# The GPU's memory


class Hungry:
    """A policy that has memory for batches of two."""

    noise_shape = (4, 3)

    def __init__(self):
        self.batches = []

    def infer(self, obs, noise):
        return self.infer_batch([obs], noise[None])[0]

    def infer_batch(self, observations, noise):
        self.batches.append(len(observations))
        if len(observations) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return [{"actions": one * 2} for one in noise]


def test_without_memory_the_batch_is_halved_and_the_rest_goes_on(caplog):
    noise = np.random.default_rng(0).standard_normal((5, 4, 3), np.float32)
    with LocalPolicy(Hungry(), "hungry", max_batch=8) as local:
        replies = local.infer_batch([{"prompt": "go"}] * 5, noise)
        np.testing.assert_array_equal([reply["actions"] for reply in replies], 2 * noise)
        assert local.batch == local.describe()["batch"] == 2
        assert local.policy.batches[:2] == [8, 4]
        assert "memory is full; batches of 2" in caplog.text


def test_without_memory_for_one_it_is_an_error():
    class Starving(Hungry):
        def infer_batch(self, observations, noise):
            raise torch.OutOfMemoryError("CUDA out of memory")

    with LocalPolicy(Starving(), "starving") as local, pytest.raises(torch.OutOfMemoryError):
        local.infer({"prompt": "go"}, np.zeros((4, 3), np.float32))


# The network

OFFLINE = """
import sys

def hook(event, arguments):
    if event.startswith("socket."):
        raise RuntimeError(f"{event} {arguments}")

sys.addaudithook(hook)
from headless_eval.cli.main import main
sys.exit(main(sys.argv[1:]))
"""
MAIN_JOB = ["run", "--tasks", "1", "--episodes", "1", "--dtypes", "int8", "--videos", "all", "--quiet"]


def test_no_module_opens_a_socket(droid_policy, tmp_path):
    done = python(OFFLINE, *MAIN_JOB, "--policy", droid_policy, "--results", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert len(RunDirectory.open(tmp_path / "run").records()) == 1
    # The hook does see sockets.
    done = python(OFFLINE.replace("from headless_eval", "import socket; socket.socket()\nfrom headless_eval"))
    assert "socket.__new__" in done.stderr


@pytest.mark.skipif(not unshare("-rn"), reason="a network namespace of one's own is not permitted here")
def test_the_main_job_runs_without_any_network(droid_policy, tmp_path):
    script = "import os, sys; from headless_eval.cli.main import main\n"
    script += "assert open('/proc/net/route').read().count('\\n') <= 1, 'there is a route'\n"
    script += "sys.exit(main(sys.argv[1:]))"
    arguments = [*MAIN_JOB, "--policy", droid_policy, "--results", tmp_path / "run"]
    done = python(script, *arguments, prefix=("unshare", "-rn"))
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "run").rglob("*.mp4"))
    assert Path(tmp_path / "run" / "report.html").is_file()


def test_a_terminated_run_is_an_interrupted_one(tmp_path):
    folder = tmp_path / "run"
    flags = [
        *FLAGS,
        "--episodes",
        "50",
        "--slots",
        "1",
        "--videos",
        "none",
        "--quiet",
        "--results",
        str(folder),
    ]
    command = [sys.executable, "-m", "headless_eval", "run", *flags]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    try:
        journal = folder / "journal.jsonl"
        until = time.monotonic() + 60
        while not (journal.exists() and journal.stat().st_size) and time.monotonic() < until:
            time.sleep(0.05)
        process.terminate()
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert f"--resume {folder}" in said
    assert json.loads((folder / "manifest.json").read_text())["status"] == "interrupted"
    assert os.path.getsize(folder / "report.html")
