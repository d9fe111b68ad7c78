"""Runs are repeated and compared, judged and exported."""

import csv
import json
import shutil
import sys
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from run_cases import nudge, tamper

from headless_eval.cli.main import main
from headless_eval.export.table import COLUMNS, export
from headless_eval.results import RunDirectory
from headless_eval.runs.verify import compare_trials


@pytest.fixture
def moved(finished, tmp_path):
    """The run as a colleague has it: zipped, sent, unpacked elsewhere."""
    archive = shutil.make_archive(str(tmp_path / "sent"), "zip", finished)
    shutil.unpack_archive(archive, tmp_path / "elsewhere")
    return tmp_path / "elsewhere"


def test_a_run_that_was_sent_elsewhere_verifies(moved, short_episodes, capsys):
    assert main(["verify", str(moved), "--all"]) == 0
    assert capsys.readouterr().out == "the same: 6 trials, every action to the last bit\n"
    assert main(["verify", str(moved), "--sample", "2", "--slots", "1"]) == 0
    assert "2 trials" in capsys.readouterr().out


def test_a_difference_is_named_with_trial_replan_dimension_and_amount(moved, short_episodes, capsys):
    tamper(moved, 4, nudge)
    manifest = json.loads((moved / "manifest.json").read_text())
    manifest["versions"]["numpy"] = "1.0"
    manifest["hardware"]["cpu"] = "Colleague's"
    (moved / "manifest.json").write_text(json.dumps(manifest))
    assert main(["verify", str(moved), "--all"]) == 1
    out = capsys.readouterr().out
    assert out.startswith(
        "1 of 6 trials differ; the first:\n  float32, task 3, episode 1: replan 1 (step 11), "
    )
    assert "action dimension 5: " in out
    assert "a difference of 0.25; at most 0.25 over 16 steps" in out
    assert f"  numpy: 1.0 then, {np.__version__} now\n" in out
    assert "  cpu: Colleague's then, " in out


def test_two_runs_are_compared(finished, moved, capsys):
    assert main(["verify", str(finished), str(moved)]) == 0
    tamper(moved, 0, nudge)
    assert main(["verify", str(finished), str(moved)]) == 1
    out = capsys.readouterr().out
    assert "task 1, episode 0: replan 1 (step 11), action dimension 5" in out
    assert "something here is not deterministic" in out


def test_trials_of_one_run_alone_are_named(finished, moved, capsys):
    journal = moved / "journal.jsonl"
    journal.write_text("".join(journal.read_text().splitlines(keepends=True)[:-1]))
    assert main(["verify", str(finished), str(moved)]) == 0
    out = capsys.readouterr().out
    assert out.startswith(
        "not compared, as they ended without an error in only one of the runs: float32 1\nthe same: 5 trials"
    )
    other = [{**json.loads(line), "seed": 8} for line in journal.read_text().splitlines()]
    journal.write_text("".join(json.dumps(line) + "\n" for line in other))
    assert main(["verify", str(finished), str(moved)]) == 1
    assert "no trial of the same seed" in capsys.readouterr().out


def test_what_can_be_said_without_actions(finished, moved, capsys):
    tamper(moved, 0, nudge)
    shutil.rmtree(moved / "actions")
    assert main(["verify", str(finished), str(moved)]) == 1
    assert "kept none to tell which" in capsys.readouterr().out


def test_compare_trials(finished):
    record = RunDirectory.open(finished).records()[0]
    actions = np.zeros((16, 8), np.float32)
    assert compare_trials(record, record, None, None, 8) is None
    other = replace(record, actions_sha256="0" * 64, steps=12)
    assert "the same actions for 12 steps" in str(compare_trials(record, other, actions, actions[:12], 8))
    assert "8 action dimensions then, 7 now" in str(compare_trials(record, other, actions, actions[:, :7], 8))
    other = replace(record, status="success", success=True)
    assert "the same actions, yet failure" in str(compare_trials(record, other, actions, actions, 8))
    broken = {"type": "ValueError", "message": "", "traceback": ""}
    other = replace(record, status="error", success=False, error=broken)
    assert "an error now (ValueError)" in str(compare_trials(record, other, None, None, 8))


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["verify"], "folder of a run"),
        (["verify", "/no/such"], "holds no run"),
        (["verify", "/no/such", "/nor/this", "--all"], "leave the other flags out"),
        (["verify", "/no/such", "--sample", "0"], "1 or more"),
        (["verify", "a", "b", "c"], "or two of them"),
        (["gate", "/no/such"], "holds no run"),
        (["gate", "{run}", "--max-drop", "1.5"], "--max-drop"),
        (["gate", "{run}"], "nothing to judge"),
        (["export"], "name its folder"),
        (["export", "/no/such"], "holds no run"),
        (["export", "{run}", "{run}"], "--output"),
        (["export", "{run}", "--output", "/no/such/file.csv"], "/no/such/file.csv"),
        (["export", "{run}", "--format", "xlsx"], "csv"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(arguments, word, finished, capsys):
    assert main([argument.format(run=finished) for argument in arguments]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert word in said


# The gate, on journals made up


def made_up(folder, drops, episodes=40, errors=0):
    """A run where int8 fails in so many episodes in which float32 succeeds."""
    from record_cases import CONFIGURATIONS, TASKS, manifest, record

    other = CONFIGURATIONS[1].name
    with RunDirectory.create(folder, manifest(episodes=episodes, tasks=TASKS[1:])) as run:
        for episode in range(episodes):
            run.append(record(episode=episode))
            status = "error" if episode < errors else "failure" if episode < errors + drops else "success"
            error = {"type": "X", "message": "m", "traceback": "t"} if status == "error" else None
            run.append(
                record(
                    episode=episode,
                    configuration=other,
                    status=status,
                    success=status == "success",
                    error=error,
                )
            )
    return folder


@pytest.mark.parametrize(
    ("drops", "max_drop", "status"),
    [(0, "0.05", 0), (4, "0.05", 0), (12, "0.05", 1), (12, "0.3", 0), (40, "0.05", 1)],
)
def test_the_gate_fails_on_drops_that_are_large_and_significant(tmp_path, drops, max_drop, status, capsys):
    folder = made_up(tmp_path / "run", drops)
    junit = tmp_path / "out" / "junit.xml"
    assert main(["gate", str(folder), "--max-drop", max_drop, "--junit", str(junit)]) == status
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["passed", "float32"],
        ["failed" if status else "passed", "boolean_both"],
    ]
    suite = ElementTree.parse(junit).getroot().find("testsuite")
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("2", str(status), "0")
    assert [case.get("name") for case in suite.iter("testcase")] == ["float32", "boolean_both"]
    assert len(list(suite.iter("failure"))) == status


def test_the_gate_does_not_pass_what_too_few_episodes_cannot_show(tmp_path, capsys):
    assert main(["gate", str(made_up(tmp_path / "few", 3, episodes=3))]) == 1
    out = capsys.readouterr().out
    assert "error " in out
    assert "too few pairs to show any drop" in out


def test_the_gate_does_not_pass_what_broke_or_is_not_whole(tmp_path, capsys):
    assert main(["gate", str(made_up(tmp_path / "broken", 0, errors=1))]) == 1
    assert "1 of 40 episodes ended in an error" in capsys.readouterr().out
    folder = made_up(tmp_path / "cut", 0)
    journal = folder / "journal.jsonl"
    journal.write_text("".join(journal.read_text().splitlines(keepends=True)[:-1]))
    assert main(["gate", str(folder)]) == 1
    assert "39 of 40 episodes have run" in capsys.readouterr().out


# The table


def test_the_table_has_a_row_per_trial(finished, moved, tmp_path, capsys):
    output = tmp_path / "table.csv"
    assert main(["export", str(finished), str(moved), "--output", str(output)]) == 0
    assert capsys.readouterr().out == f"{output}\n"
    with open(output) as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert [row["run"] for row in rows] == ["whole"] * 6 + ["elsewhere"] * 6
    records = RunDirectory.open(finished).records()
    assert [(row["task_id"], row["episode"], row["actions_sha256"]) for row in rows[:6]] == [
        (str(record.task_id), str(record.episode), record.actions_sha256) for record in records
    ]


def test_parquet_without_pyarrow_names_the_extra(finished, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert main(["export", str(finished), "--format", "parquet"]) == 2
    assert "headless-eval[parquet]" in capsys.readouterr().err


def test_parquet_holds_the_same(finished, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    path = export([finished], tmp_path / "table.parquet")
    table = parquet.read_table(path)
    assert tuple(table.column_names) == COLUMNS
    assert table.column("steps").to_pylist() == [16] * 6


@pytest.mark.parametrize(("flipped", "status"), [(0, 0), (6, 1)])
def test_a_simulator_that_does_not_repeat_is_compared_by_outcome(moved, finished, capsys, flipped, status):
    manifest = json.loads((moved / "manifest.json").read_text())
    manifest["simulator"]["determinism"] = "statistical"
    (moved / "manifest.json").write_text(json.dumps(manifest))
    tamper(moved, 4, nudge)
    lines = [json.loads(line) for line in (moved / "journal.jsonl").read_text().splitlines()]
    for line in lines[:flipped]:
        line.update(success=not line["success"], status="failure" if line["success"] else "success")
    (moved / "journal.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert main(["verify", str(finished), str(moved)]) == status
    said = capsys.readouterr().out
    assert "does not repeat to the bit" in said
    assert "of 6 trials succeeded then" in said
