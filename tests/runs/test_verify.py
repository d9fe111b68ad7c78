"""Runs are repeated, and compared trial by trial."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from run_cases import nudge, tamper

from headless_eval.cli.main import main
from headless_eval.results import RunDirectory
from headless_eval.runs.verify import compare_trials


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
    other = replace(record, status="success", success=True, reason=None)
    assert "the same actions, yet failure" in str(compare_trials(record, other, actions, actions, 8))
    broken = {"type": "ValueError", "message": "", "traceback": ""}
    other = replace(record, status="error", success=False, error=broken, reason=None)
    assert "an error now (ValueError)" in str(compare_trials(record, other, None, None, 8))


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["verify"], "folder of a run"),
        (["verify", "/no/such"], "holds no run"),
        (["verify", "/no/such", "/nor/this", "--all"], "leave the other flags out"),
        (["verify", "/no/such", "--sample", "0"], "1 or more"),
        (["verify", "a", "b", "c"], "or two of them"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(arguments, word, finished, capsys):
    assert main([argument.format(run=finished) for argument in arguments]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert word in said


@pytest.mark.parametrize(("flipped", "status"), [(0, 0), (6, 1)])
def test_a_simulator_that_does_not_repeat_is_compared_by_outcome(moved, finished, capsys, flipped, status):
    manifest = json.loads((moved / "manifest.json").read_text())
    manifest["simulator"]["determinism"] = "statistical"
    (moved / "manifest.json").write_text(json.dumps(manifest))
    tamper(moved, 4, nudge)
    lines = [json.loads(line) for line in (moved / "journal.jsonl").read_text().splitlines()]
    for line in lines[:flipped]:
        line.update(success=not line["success"], status="failure" if line["success"] else "success")
        line.pop("reason", None)
    (moved / "journal.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert main(["verify", str(finished), str(moved)]) == status
    said = capsys.readouterr().out
    assert "does not repeat to the bit" in said
    assert "of 6 trials succeeded then" in said
