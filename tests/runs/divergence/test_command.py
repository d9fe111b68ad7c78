"""A real policy is asked during a run, on resume, and afterwards: always the same answers, and the same episodes."""

import json
import shutil

import pytest

from headless_eval.cli.main import main
from headless_eval.results import RunDirectory


@pytest.fixture(scope="module")
def asked(droid_policy, tmp_path_factory):
    """A run of one short scene whose first episode was asked along; to be copied, not changed."""
    folder = tmp_path_factory.mktemp("asked") / "run"
    flags = ["--policy", droid_policy, "--variant", "float32", "int4_both", "--tasks", "1", "--episodes", "2"]
    flags += ["--max-steps", "20", "--divergence", "1", "--videos", "none", "--quiet"]
    assert main(["run", *flags, "--results", str(folder)]) == 0
    return folder


@pytest.fixture
def copy(asked, tmp_path):
    return shutil.copytree(asked, tmp_path / "copy")


def forget(folder):
    shutil.rmtree(folder / "divergence")
    for name in ("divergence.jsonl", "divergence.csv", "divergence.png"):
        (folder / name).unlink()


def answers(folder):
    run = RunDirectory.open(folder)
    return {line.trial: run.divergences.actions(line).tobytes() for line in run.divergences.lines()}


def test_a_run_asks(asked):
    (trial,) = answers(asked)
    assert trial == ("int4_both", 1, 0)
    rows = (asked / "divergence.csv").read_text().splitlines()
    assert len(rows) == 1 + 3, "replans at steps 0, 8 and 16"
    assert "rad, largest in joint" in (asked / "report.html").read_text()
    assert RunDirectory.open(asked).manifest["time"]["divergence_s"] > 0


def test_the_command_finds_the_same_to_the_bit_and_asks_others_too(asked, copy, capsys):
    forget(copy)
    assert main(["divergence", str(copy), "--variant", "int4_both", "bfloat16_both", "--episodes", "2"]) == 0
    found = answers(copy)
    assert set(found) == {(name, 1, number) for name in ("int4_both", "bfloat16_both") for number in range(2)}
    assert found["int4_both", 1, 0] == answers(asked)["int4_both", 1, 0]
    said = capsys.readouterr().out
    assert "asked on the path of float32, 6 replans of 2 episodes" in said
    assert "int4_both departs most (" in said
    manifest = json.loads((copy / "manifest.json").read_text())
    assert manifest["divergence"] == {"repeated": 0.0}, "the baseline answered what it had done, to the bit"
    before, after = (RunDirectory.open(folder).records() for folder in (asked, copy))
    assert before == after


@pytest.mark.slow
def test_a_resumed_run_asks_for_what_is_missing(asked, copy):
    forget(copy)
    lines = (copy / "journal.jsonl").read_text().splitlines(keepends=True)
    (copy / "journal.jsonl").write_text("".join(lines[:3]))  # the baseline's, and one of int4's
    assert main(["run", "--resume", str(copy), "--quiet"]) == 0
    assert answers(copy) == answers(asked)
    forget(copy)
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps(manifest | {"status": "interrupted"}))
    assert main(["run", "--resume", str(copy), "--quiet"]) == 0  # no trial is left, but answers are
    assert answers(copy) == answers(asked)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--dtypes", "float32"], "nothing but the baseline, float32: name others with --dtypes"),
        (["--modes", "both"], "--modes goes with --dtypes only"),
        (["--dtypes", "int8", "--variant", "int8_both"], "--dtypes and --variant both given"),
        (["--dtypes", "int9"], "int9"),
    ],
)
def test_what_cannot_be_asked_is_one_line(asked, capsys, flags, said):
    assert main(["divergence", str(asked), *flags]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_a_simulator_that_does_not_repeat_is_refused(copy, capsys):
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["simulator"]["determinism"] = "statistical"
    (copy / "manifest.json").write_text(json.dumps(manifest))
    assert main(["divergence", str(copy)]) == 2
    assert "does not repeat to the bit" in capsys.readouterr().err
