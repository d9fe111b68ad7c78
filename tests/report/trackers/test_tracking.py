import shutil
from typing import ClassVar

import pytest

from headless_eval.cli.main import main
from headless_eval.errors import UserError
from headless_eval.report import summarize_run
from headless_eval.report.trackers import TRACKERS, find_trackers, tracked_run
from headless_eval.report.trackers.tracking import Tracking, values_of
from headless_eval.results import RunDirectory


class Notebook:
    """A tracker that keeps what it gets; the methods in ``broken`` raise an error."""

    package = "json"
    broken: ClassVar[dict[str, BaseException]] = {}
    kept: ClassVar[list] = []

    def __init__(self, run):
        self._keep("open", run)

    def log(self, values, step):
        self._keep("log", values, step)

    def finish(self, page, videos):
        self._keep("finish", page, videos)

    def _keep(self, what, *arguments):
        print("what a tracker prints")
        if what in self.broken:
            raise self.broken[what]
        self.kept.append((what, *arguments))


@pytest.fixture
def notebook(monkeypatch):
    monkeypatch.setattr(Notebook, "broken", {})
    monkeypatch.setattr(Notebook, "kept", [])
    TRACKERS.names()
    monkeypatch.setitem(TRACKERS._known, "notebook", Notebook)
    return Notebook


@pytest.mark.usefixtures("short_episodes")
def test_a_run_is_tracked_while_it_runs_and_at_its_end(notebook, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("headless_eval.report.trackers.tracking.INTERVAL", 0.0)
    folder = tmp_path / "run"
    flags = [
        "--policy",
        "random",
        "--tasks",
        "1",
        "--episodes",
        "2",
        "--slots",
        "1",
        "--videos",
        "none",
        "--quiet",
    ]
    assert main(["run", *flags, "--track", "notebook", "--results", str(folder)]) == 0
    assert capsys.readouterr().out == f"{folder}\n"  # and not what the tracker printed
    opened, first, second, last, finished = notebook.kept
    assert opened[1].name == "run"
    assert opened[1].settings["policy"] == "random"
    assert opened[1].settings["variants"] == "float32"
    assert (first[2], second[2], last[2]) == (1, 2, 2)
    rate = ("float32/success_rate", "float32/success_rate_low", "float32/success_rate_high")
    assert second[1].keys() == {*rate, "float32/episodes", "float32/errors"}
    assert last[1] == second[1] | {"float32/never_reached": 2}  # how they failed, only at the end
    assert last[1] == values_of(summarize_run(RunDirectory.open(folder)))
    assert finished == ("finish", folder / "report.html", [])
    assert finished[1].is_file()


@pytest.mark.parametrize("method", ["open", "log", "finish"])
def test_a_tracker_that_fails_costs_nothing(method, notebook, finished, tmp_path, capsys):
    folder = shutil.copytree(finished, tmp_path / "run")
    notebook.broken[method] = ConnectionError("no route\nto it")
    assert main(["report", str(folder), "--track", "notebook"]) == 0
    told = capsys.readouterr()
    assert "notebook failed (ConnectionError: no route); the run itself loses nothing" in told.err
    assert f"report {folder} --track notebook" in told.err
    assert [kept[0] for kept in notebook.kept] == ["open", "log", "finish"][
        : ["open", "log", "finish"].index(method)
    ]


def test_sending_may_be_interrupted(notebook, finished, capsys):
    directory = RunDirectory.open(finished)
    notebook.broken["finish"] = KeyboardInterrupt()
    Tracking(["notebook"], directory).finish(directory, summarize_run(directory))
    assert "notebook was interrupted" in capsys.readouterr().err


def test_sessions_of_a_run_have_one_key(finished):
    manifest = RunDirectory.open(finished).manifest
    run = tracked_run(finished, manifest)
    assert run.key == tracked_run(finished / ".." / finished.name, {**manifest, "status": "running"}).key
    assert run.key != tracked_run(finished, {**manifest, "started_at": "another day"}).key


def test_unknown_trackers_and_missing_packages_are_told_before_anything_runs(
    notebook, monkeypatch, tmp_path, capsys
):
    assert find_trackers(["none"]) == {}
    with pytest.raises(UserError, match="wandb"):
        find_trackers(["wand"])
    monkeypatch.setattr(notebook, "package", "not_installed_anywhere")
    assert main(["run", "--policy", "random", "--track", "notebook", "--results", str(tmp_path / "run")]) == 2
    assert "--track notebook needs not_installed_anywhere: run" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
