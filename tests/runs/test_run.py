"""``headless_eval.evaluate``: a run from Python. Runs of the command line: the other tests here and tests/cli."""

import signal
import threading

import numpy as np
import pytest

import headless_eval
from headless_eval import LocalPolicy, UserError, evaluate, load_policy
from headless_eval.cli.main import main
from headless_eval.results import RunDirectory

SHORT = {"tasks": ["1", "2"], "episodes": 1, "videos": "none", "slots": 2}
FLAGS = ["--tasks", "1", "2", "--episodes", "1", "--videos", "none"]


class Still:
    """A policy of somebody's own."""

    def __init__(self):
        self.calls = 0

    def infer(self, obs):
        self.calls += 1
        joints = np.concatenate([obs["observation/joint_position"], obs["observation/gripper_position"]])
        return {"actions": np.tile(joints, (8, 1))}


def hashes(run):
    return {record.trial: record.actions_sha256 for record in run.records()}


def test_it_is_what_the_command_does(short_episodes, tmp_path, capsys):
    run = evaluate("pi0-droid-tiny", dtypes=["float32", "int8"], results=tmp_path / "python", **SHORT)
    assert capsys.readouterr() == ("", "")
    flags = [*FLAGS, "--dtypes", "float32", "int8", "--results", str(tmp_path / "command"), "--quiet"]
    assert main(["run", *flags]) == 0
    assert len(run.records()) == 4
    assert hashes(run) == hashes(RunDirectory.open(tmp_path / "command"))
    assert run.manifest["status"] == "finished"
    assert (run.path / "report.html").is_file()


def test_a_loaded_policy_stays_open_as_it_was_loaded(short_episodes, tmp_path):
    with load_policy("pi0-droid-tiny") as policy:
        before = policy.fingerprint()
        first = evaluate(policy, dtypes=["float32", "int4"], results=tmp_path / "first", **SHORT)
        assert policy.precision.dtype == "float32"
        assert policy.fingerprint() == before
        again = evaluate(policy, dtypes=["int4"], results=str(tmp_path / "again"), **SHORT)
    named = {trial: sha for trial, sha in hashes(first).items() if trial[0] != "float32"}
    assert hashes(again) == named


@pytest.mark.parametrize("wrapped", [False, True])
def test_any_object_with_infer_is_evaluated(short_episodes, tmp_path, wrapped):
    still = Still()
    policy = LocalPolicy(still, "still") if wrapped else still
    run = evaluate(policy, dtypes=["float32"], results=tmp_path / "run", **SHORT)
    assert [record.status for record in run.records()] == ["failure", "failure"]
    assert run.manifest["policy"]["name"] == ("still" if wrapped else "Still")
    assert still.calls > 0


def test_it_works_in_a_thread_and_leaves_signals_alone(short_episodes, tmp_path):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    runs = []
    settings = {**SHORT, "tasks": ["1"], "dtypes": ["float32"], "results": tmp_path / "run"}
    thread = threading.Thread(target=lambda: runs.append(evaluate(Still(), **settings)))
    thread.start()
    thread.join()
    assert len(runs[0].records()) == 1
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"epsiodes": 3}, "epsiodes"),
        ({"suite": "driod"}, "did you mean droid"),
        ({"episodes": 0}, "1 or more"),
        ({"dtypes": ["int9"]}, "int9"),
    ],
)
def test_mistakes_are_user_errors(settings, words, tmp_path):
    with pytest.raises(UserError, match=words):
        evaluate("zero", results=tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()


def test_public_names_are_there():
    for name in headless_eval.__all__:
        assert getattr(headless_eval, name) is not None
        assert name in dir(headless_eval)
    from headless_eval.precision import Precision

    assert Precision is headless_eval.Precision
