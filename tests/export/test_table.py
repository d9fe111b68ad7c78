"""Runs as one long table."""

import csv
import sys

import pytest
from record_cases import manifest, record

from headless_eval.cli.main import main
from headless_eval.export.table import COLUMNS, export
from headless_eval.report.build import build
from headless_eval.results import RunDirectory


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
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


def test_the_table_has_a_row_per_trial(finished, moved, tmp_path, capsys):
    output = tmp_path / "table.csv"
    assert main(["export", str(finished), str(moved), "--output", str(output)]) == 0
    assert capsys.readouterr().out == f"{output}\n"
    with open(output) as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0])[: len(COLUMNS)] == COLUMNS
    assert all(name.startswith("metric_") for name in tuple(rows[0])[len(COLUMNS) :])
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
    assert tuple(table.column_names)[: len(COLUMNS)] == COLUMNS
    assert {float(row["metric_path_length"]) > 0 for row in table.to_pylist()} == {True}
    assert table.column("steps").to_pylist() == [16] * 6


@pytest.fixture
def with_metrics(tmp_path):
    """A run of two variants, one of which has settings, in a simulator with a metric."""
    with RunDirectory.create(tmp_path / "metrics", manifest(metrics={"distance": "m"})) as run:
        run.append(record(metrics={"distance": 0.25}))
        five = {"configuration": "float32_flow_steps_5", "variant": {"flow_steps": 5}}
        run.append(record(**five, metrics={"distance": 0.5, "force": 3}))
    return run.path


def test_metrics_and_settings_are_columns_where_there_are_any(with_metrics, finished, tmp_path):
    with open(export([with_metrics, finished], tmp_path / "table.csv")) as file:
        rows = list(csv.DictReader(file))
    added = ("setting_flow_steps", "metric_distance", "metric_force")
    assert tuple(rows[0])[: len(COLUMNS) + len(added)] == (*COLUMNS, *added)
    found = [tuple(row[name] for name in added) for row in rows]
    assert found == [("", "0.25", ""), ("5", "0.5", "3.0"), *[("", "", "")] * 6]
    assert RunDirectory.open(with_metrics).manifest["metrics"] == {"distance": "m"}


def test_parquet_has_metrics_as_numbers(with_metrics, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    table = parquet.read_table(export([with_metrics], tmp_path / "table.parquet"))
    assert table.column("metric_distance").to_pylist() == [0.25, 0.5]
    assert table.column("metric_force").to_pylist() == [None, 3.0]
    assert table.column("setting_flow_steps").to_pylist() == [None, "5"]


def test_no_text_of_a_run_is_a_formula_in_a_table(tmp_path):
    formula = '=HYPERLINK("http://x","y")'
    with RunDirectory.create(tmp_path / "run", manifest()) as run:
        run.append(record(task_name=formula, instruction="-1+1", variant={"flow_steps": -0.5}))
    build(run.path)
    for path in (export([run.path], tmp_path / "table.csv"), run.path / "droid_results.csv"):
        with path.open() as file:
            (row,) = csv.DictReader(file)
        assert (row["task_name"], row["instruction"]) == (f"'{formula}", "'-1+1")
        assert row["setting_flow_steps"] == "-0.5"
