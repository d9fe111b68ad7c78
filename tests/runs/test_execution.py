"""Faults during a run: a full disk, a dying encoder, a hanging simulator, a termination (in loop.py: test_loop.py)."""

import json
import os
import subprocess
import sys

import pytest
from process_cases import SIGNALS, python, unshare

from headless_eval.cli.main import main
from headless_eval.errors import UserError
from headless_eval.results import RunDirectory
from headless_eval.rollout import video

FLAGS = ["--policy", "zero", "--dtypes", "float32", "--tasks", "1"]


@pytest.mark.skipif(not unshare("-rm"), reason="mounting a small disk needs user namespaces")
@pytest.mark.parametrize(
    ("videos", "episodes", "steps", "size"), [("none", 4, 150, "24k"), ("all", 3, 60, "64k")]
)
def test_a_full_disk_stops_the_run_in_one_line_and_loses_nothing(tmp_path, videos, episodes, steps, size):
    small, saved = tmp_path / "small", tmp_path / "saved"
    small.mkdir()
    flags = [*FLAGS, "--videos", videos, "--video-fps", "1", "--episodes", str(episodes), "--quiet"]
    flags += ["--max-steps", str(steps)]
    script = f"""
mount -t tmpfs -o size={size} none {small} || exit 99
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
    assert 1 <= len(records) < episodes
    assert all(record.status == "failure" for record in records)
    assert all(run.actions(record) is not None for record in records)
    # With room again the run goes on to its end.
    assert main(["run", "--resume", str(saved), "--quiet"]) == 0
    assert len(RunDirectory.open(saved).records()) == episodes


def test_an_encoder_that_dies_is_an_error_of_its_episodes(short_episodes, tmp_path, monkeypatch):
    dying = tmp_path / "ffmpeg"
    dying.write_text(
        "#!/bin/sh\nfor last; do :; done\n"
        f'case $(readlink ${{last#file:}}) in *ep000*) exec {video.find_ffmpeg()} "$@";; esac\n'
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


HANGS = """
import sys, time
from headless_eval.cli.main import main
from headless_eval.sims.droid.mujoco import simulator as mujoco_sim

step, steps = mujoco_sim.Slot.step, 0

def stepped(slot, action):
    global steps
    steps += 1
    if steps == 30:  # in the second episode
        time.sleep(1000)
    return step(slot, action)

mujoco_sim.Slot.step = stepped
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(("retries", "status"), [pytest.param(0, 1, marks=pytest.mark.slow), (1, 0)])
def test_a_step_that_never_returns_is_an_error_and_the_run_goes_on(tmp_path, retries, status):
    folder = tmp_path / "run"
    flags = [*FLAGS, "--episodes", "2", "--slots", "1", "--videos", "none", "--episode-timeout", "3"]
    flags += ["--max-steps", "20"]  # far less than three seconds, on a busy machine, too
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


def test_a_terminated_run_is_an_interrupted_one(tmp_path):
    folder = tmp_path / "run"
    (tmp_path / "mine.py").write_text(SIGNALS)
    flags = [
        "--policy",
        f"{tmp_path}/mine.py:Terminates",
        "--dtypes",
        "float32",
        "--tasks",
        "1",
        "--slots",
        "1",
    ]
    flags += ["--max-steps", "16", "--episodes", "4", "--videos", "none", "--quiet", "--results", str(folder)]
    command = [sys.executable, "-m", "headless_eval", "run", *flags]
    process = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=120)
    assert process.returncode == 130
    assert f"--resume {folder}" in process.stderr
    assert json.loads((folder / "manifest.json").read_text())["status"] == "interrupted"
    assert os.path.getsize(folder / "report.html")


QUICK = ["--policy", "random", "--dtypes", "float32", "--tasks", "1", "--episodes", "1", "--max-steps", "8"]


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "latin-1"},
        pytest.param(
            {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, marks=pytest.mark.slow, id="ascii"
        ),
    ],
)
def test_any_encoding_of_the_output_will_do(tmp_path, environment):
    folder = tmp_path / "Läufe – alle"
    command = [sys.executable, "-m", "headless_eval", "run", *QUICK, "--videos", "none", "--results", folder]
    done = subprocess.run(command, capture_output=True, env=os.environ | environment, timeout=120)
    assert done.returncode == 0, done.stderr
    assert b"float32" in done.stdout
    manifest = RunDirectory.open(folder).manifest
    assert (manifest["status"], manifest["exit_status"]) == ("finished", 0)


@pytest.mark.parametrize(
    ("error", "status"),
    [(BrokenPipeError(), 141), (KeyboardInterrupt(), 130), (UserError("no"), 2), (OSError("broken"), 1)],
)
def test_the_manifests_exit_status_is_the_processs(
    short_episodes, tmp_path, monkeypatch, capfd, error, status
):
    """Whatever happens after the last episode, while results are shown."""

    def fail(*_):
        raise error

    monkeypatch.setattr("headless_eval.runs.run._show", fail)
    flags = ["run", *QUICK, "--videos", "none", "--quiet", "--results", str(tmp_path / "run")]
    if status == 1:
        with pytest.raises(OSError, match="broken"):
            main(flags)
    else:
        monkeypatch.setattr(os, "dup2", lambda *_: None)
        assert main(flags) == status
    manifest = RunDirectory.open(tmp_path / "run").manifest
    assert (manifest["status"], manifest["exit_status"]) == ("finished", status)
    monkeypatch.undo()
    assert main(["run", "--resume", str(tmp_path / "run"), "--quiet"]) == 0
    assert RunDirectory.open(tmp_path / "run").manifest["exit_status"] == 0


def test_a_reader_that_has_enough_is_in_the_manifest(tmp_path):
    flags = " ".join([*QUICK, "--videos", "none", "--quiet", "--results", f"{tmp_path}/run"])
    command = f'"{sys.executable}" -m headless_eval run {flags}'
    script = f"{{ {command}; echo $? >{tmp_path}/status; }} | true"
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=120)
    status = int((tmp_path / "status").read_text())
    manifest = RunDirectory.open(tmp_path / "run").manifest
    assert (status, manifest["exit_status"]) == (141, 141), done.stderr
    assert done.stderr == ""


SILENT = """
import sys, time
from headless_eval.cli.main import main
from headless_eval.runs.divergence.measure import BaselinePath

BaselinePath._noise = lambda path, group: time.sleep(1000)  # where the policy is asked
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_a_variant_that_never_answers_on_the_baselines_path_is_noted_and_the_run_goes_on(
    droid_policy, tmp_path
):
    folder = tmp_path / "run"
    flags = ["--policy", droid_policy, "--variant", "float32", "bfloat16_both", "--tasks", "1"]
    flags += ["--episodes", "1", "--max-steps", "8", "--episode-timeout", "5", "--videos", "none"]
    done = python(SILENT, "run", *flags, "--quiet", "--results", folder)
    assert done.returncode == 0, done.stderr
    assert "divergence did not return within 5 s; going on in a fresh process" in done.stderr
    run = RunDirectory.open(folder)
    assert [record.status for record in run.records()] == ["failure", "failure"]
    assert run.manifest["divergence"] == {"failed": {"bfloat16_both": "divergence did not return within 5 s"}}
    assert run.divergences.lines() == []
