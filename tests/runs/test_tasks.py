"""A sweep from the command line to its files, in the real simulator."""

import csv

from droid_suite import short_tasks

from headless_eval.cli.main import main
from headless_eval.report.run import read_run
from headless_eval.results import RunDirectory


def test_a_sweep_runs_is_continued_and_reported(tmp_path, monkeypatch, capsys):
    short_tasks(monkeypatch)
    folder = tmp_path / "run"
    arguments = ["run", "--policy", "random", "--tasks", "1", "--episodes", "2", "--videos", "none"]
    swept = ["--sweep", "light=x0.6", "language=1", "pose=2", "noise=1"]
    assert main([*arguments, *swept, "--results", str(folder)]) == 0
    said = capsys.readouterr().out
    assert "Success under perturbations" in said
    assert "light.dim 0.6" in said
    assert "All conditions of the sweep count together" in " ".join(said.split())
    records = {(one.task_key, one.episode): one for one in read_run(folder).records()}
    assert len(records) == 10
    plain, dimmed = records["scene_1", 1], records["scene_1@light.dim=0.6", 1]
    assert plain.initial_state_sha256 == dimmed.initial_state_sha256
    assert plain.initial_state_sha256 != records["scene_1@pose=2", 1].initial_state_sha256
    assert (plain.perturbation, dimmed.perturbation["light.factor"]) == (None, 0.6)
    assert records["scene_1@language=1", 0].instruction != plain.instruction
    with (folder / "perturbations.csv").open(encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == 10
    with (folder / "robustness.csv").open(encoding="utf-8") as file:
        assert [row["axis"] for row in csv.DictReader(file)] == [
            "plain",
            "light.dim",
            "pose",
            "language",
            "noise",
        ]
    assert "Robustness" in (folder / "report.html").read_text("utf-8")

    lines = (folder / "journal.jsonl").read_text("utf-8").splitlines(keepends=True)
    (folder / "journal.jsonl").write_text("".join(lines[:7]), encoding="utf-8")
    with RunDirectory.open(folder, write=True) as run:
        run.update_manifest(status="interrupted")
    assert main(["run", "--resume", str(folder)]) == 0
    again = {(one.task_key, one.episode): one for one in read_run(folder).records()}
    assert {key: one.actions_sha256 for key, one in again.items()} == {
        key: one.actions_sha256 for key, one in records.items()
    }
    assert {key: one.perturbation for key, one in again.items()} == {
        key: one.perturbation for key, one in records.items()
    }
    assert main(["verify", str(folder), "--sample", "3"]) == 0
