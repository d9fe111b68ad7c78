"""Compared outcomes in words, tables, files, and on the page."""

import csv
import io
import json

import numpy as np
import pytest
from record_cases import CONFIGURATIONS, TASKS, manifest, record
from rich.console import Console

from headless_eval.cli.main import main
from headless_eval.report import build
from headless_eval.report.outcome_tables import amount, outcome_table, say_change, signed
from headless_eval.report.outcomes import Outcome
from headless_eval.report.run import read_run
from headless_eval.results import RunDirectory

METRES = Outcome("a_m", "a", "m", "more", False)
SHARES = Outcome("a_m", "a", "m", "more", True)


@pytest.fixture
def run(tmp_path):
    """A run whose other variant's paths are a third longer, and that drops in two episodes of 20."""
    generator = np.random.default_rng(2)
    stated = manifest(episodes=20, tasks=TASKS[1:], metrics={"path_length": "rad"})
    with RunDirectory.create(tmp_path / "run", stated) as directory:
        for variant, factor in zip(CONFIGURATIONS, (1.0, 1.33), strict=True):
            for episode in range(20):
                length = float(4 * factor * generator.lognormal(0, 0.05))
                metrics = {"path_length": length, "drops": float(factor > 1 and episode < 2)}
                directory.append(record(configuration=variant.name, episode=episode, metrics=metrics))
        directory.finish(0)
    return directory.path


@pytest.mark.parametrize(
    ("value", "outcome", "said"),
    [
        (0.123, SHARES, "+12"),
        (-0.0123, SHARES, "−1.2"),
        (9.5, SHARES, "+950"),
        (394.0, SHARES, "+39,400"),
        (-0.1234, METRES, "−0.12"),
        (0.0, METRES, "0"),
        (np.inf, METRES, "∞"),
        (-np.inf, SHARES, "−∞"),
    ],
)
def test_a_change_has_its_sign_and_two_digits(value, outcome, said):
    assert signed(value, outcome) == said


def test_amounts_have_three_digits_and_their_unit():
    assert [amount(value, "s") for value in (4.4333, 0.0, -123.4, 1e-9)] == [
        "4.43 s",
        "0 s",
        "−123 s",
        "1.00e−09 s",
    ]


def test_the_table_shows_means_changes_and_what_differs(run):
    summary = build(run)
    path, drops = summary.outcomes
    assert say_change(path).startswith("+3")
    assert say_change(drops) == "differs in 2 of 20"
    text = io.StringIO()
    Console(file=text, width=120).print(outcome_table(summary))
    shown = text.getvalue()
    for word in ("path length", "drops", say_change(path) + " *", "after Holm's correction over 2 tests"):
        assert word in " ".join(shown.split())


def test_the_file_and_the_frame_have_a_row_per_variant_and_outcome(run):
    build(run)
    with (run / "outcomes.csv").open(newline="") as file:
        path, drops = csv.DictReader(file)
    frame = read_run(run).outcomes
    assert list(frame.columns) == list(path)
    assert (path["configuration"], path["outcome"], path["change_unit"]) == (
        "boolean_both",
        "path_length",
        "share",
    )
    assert float(path["change"]) == frame.change[0]
    assert float(path["change_low"]) < 0.33 < float(path["change_high"])
    assert (drops["change"], drops["differing"], frame.worse[1]) == ("", "2", "more")


def test_the_page_has_the_changes_and_links_the_file(run):
    summary = build(run)
    page = (run / "report.html").read_text()
    assert "Change of outcomes from float32" in page
    assert f"{say_change(summary.outcomes[0])} *" in page
    assert 'href="./outcomes.csv"' in page
    assert "Equal within" in page


def test_a_run_without_outcomes_says_so(run_folder):
    assert outcome_table(build(run_folder)) is None
    assert "No outcome beside success was recorded" in (run_folder / "report.html").read_text()


def test_the_commands_show_outcomes(run, capsys):
    said = say_change(build(run).outcomes[0])
    assert main(["report", str(run)]) == 0
    assert said in capsys.readouterr().out
    assert main(["compare", f"{run}:float32", f"{run}:boolean_both"]) == 0
    out = capsys.readouterr().out
    assert said in out
    assert "outcomes, B − A" in out
    assert main(["compare", f"{run}:float32", f"{run}:boolean_both", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["outcomes"]
    assert [row["outcome"] for row in rows] == ["path_length", "drops"]


def test_outcomes_of_compared_runs_are_one_family(run, capsys):
    sides = [f"{run}:float32", f"{run}:boolean_both", f"{run}:float32"]
    assert main(["compare", *sides]) == 0
    assert "after Holm's correction over 6 tests" in capsys.readouterr().out
