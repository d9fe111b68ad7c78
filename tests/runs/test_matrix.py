"""Runs with settings from a file, and matrices of runs."""

import csv
import json

import pytest
from droid_suite import SHORT_STEPS

from headless_eval.cli.main import main
from headless_eval.report.power import detectable_drop, pairs_needed
from headless_eval.report.tables import format_points
from headless_eval.results import RunDirectory


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text(
        f"""
        policy = "random"
        tasks = ["1"]
        episodes = 2
        seed = [3, 4]
        max_steps = {SHORT_STEPS}
        videos = "none"
        quiet = true
        """
    )
    return path


def actions(folder):
    return [record.actions_sha256 for record in RunDirectory.open(folder).records()]


def test_a_matrix_has_a_run_for_each_combination_and_a_summary(file, tmp_path, capsys):
    folder = tmp_path / "matrix"
    words = ["run", "--from", str(file), "--results", str(folder)]
    assert main(words) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(folder)
    with (folder / "summary.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert [(row["seed"], row["variant"], row["episodes"], row["folder"]) for row in rows] == [
        ("3", "float32", "2", "seed_3"),
        ("4", "float32", "2", "seed_4"),
    ]
    whole = [actions(folder / name) for name in ("seed_3", "seed_4")]
    assert whole[0] != whole[1]
    assert RunDirectory.open(folder / "seed_4").manifest["tasks"][0]["max_steps"] == SHORT_STEPS
    assert main(words) == 2
    assert "already holds a matrix" in capsys.readouterr().err

    # As if it had been interrupted before the second run.
    for path in sorted((folder / "seed_4").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    assert main(["run", "--resume", str(folder), "--quiet"]) == 0
    assert [actions(folder / name) for name in ("seed_3", "seed_4")] == whole

    kept = json.loads((folder / "matrix.json").read_text())
    del kept["runs"][0]["label"]
    (folder / "matrix.json").write_text(json.dumps(kept))
    assert main(["run", "--resume", str(folder)]) == 2
    assert "matrix.json is damaged" in capsys.readouterr().err


def test_flags_win_over_the_file_and_resuming_compares_the_limit_of_steps(file, tmp_path, capsys):
    folder = tmp_path / "one"
    assert main(["run", "--from", str(file), "--seed", "5", "--episodes", "1", "--results", str(folder)]) == 0
    manifest = RunDirectory.open(folder).manifest
    assert (manifest["seed"], manifest["episodes"], manifest["settings"]["max_steps"]) == (5, 1, SHORT_STEPS)
    assert main(["run", "--resume", str(folder), "--max-steps", "9", "--episodes", "2"]) == 2
    assert f"--max-steps: {SHORT_STEPS} then, 9 now" in capsys.readouterr().err
    assert main(["run", "--resume", str(folder), "--from", str(file)]) == 2
    assert "leave one of them out" in capsys.readouterr().err


def test_settings_are_written_and_nothing_runs(file, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["run", "--from", str(file), "--save-settings", "all.toml"]) == 2
    assert "describes several" in capsys.readouterr().err
    assert main(["run", "--from", str(file), "--seed", "5", "--save-settings", "one.toml"]) == 0
    assert "seed = 5\n" in (tmp_path / "one.toml").read_text()
    assert not (tmp_path / "results").exists()


def test_power_is_told_before_anything_runs(capsys):
    assert (
        main(["run", "--power", "0.05", "--dtypes", "float32", "int8", "--tasks", "1", "--episodes", "100"])
        == 0
    )
    out = capsys.readouterr().out
    assert "a drop of 5 points" in out
    (row,) = (line.split() for line in out.splitlines() if line.split()[:2] == ["2", "%"])
    needed = pairs_needed(0.05, 0.02)
    assert row[2:] == [f"{needed}", f"{needed}", format_points(-detectable_drop(100, 0.02))]
    assert main(["run", "--power", "5"]) == 2
    assert "it must be above 0 and at most 1" in capsys.readouterr().err
