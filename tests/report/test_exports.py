"""A run's results as CSV and JSON."""

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from headless_eval.report import build
from headless_eval.report.exports import TIMING_COLUMNS
from headless_eval.results import EpisodeRecord


def test_csv(run_folder: Path, records: list[EpisodeRecord]) -> None:
    build(run_folder)
    with open(run_folder / "droid_results.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:6] == ["task_id", "task_name", "episode_idx", "success", "steps", "max_steps"]
    assert tuple(rows[0])[-5:] == TIMING_COLUMNS
    assert len(rows) == len(records)
    for row, record in zip(rows, records, strict=True):
        for name, value in record.to_dict().items():
            if name == "actions":
                continue  # where they lie is the journal's business
            if name == "error":
                expected = value or {}
                assert row["error_type"] == expected.get("type", "")
                assert row["error_message"] == expected.get("message", "").replace("\n", " ")
            elif name == "mode" and record.configuration == "float32":
                assert row[name] == ""  # the model as it is
            else:
                assert row["episode_idx" if name == "episode" else name] == str(value)


def test_the_deterministic_columns_do_not_know_the_time(
    run_folder: Path, tmp_path: Path, records: list[EpisodeRecord], run_maker: Callable[..., Path]
) -> None:
    later = [
        replace(record, sim_s=9.0, render_s=9.0, infer_s=9.0, total_s=27.0, started_at="2027-01-01T00:00:00")
        for record in records
    ]
    configurations = list(dict.fromkeys(record.configuration for record in records))
    other = run_maker(tmp_path / "other", later, configurations)
    columns = []
    for folder in (run_folder, other):
        build(folder)
        with open(folder / "droid_results.csv", newline="") as file:
            columns.append([row[: -len(TIMING_COLUMNS)] for row in csv.reader(file)])
    assert columns[0] == columns[1]


def test_suite_json(run_folder: Path, records: list[EpisodeRecord]) -> None:
    build(run_folder)
    content = json.loads((run_folder / "droid_results.json").read_text())
    results = content.pop("results")
    assert content == {
        "task_suite": "droid",
        "total_episodes": 33,
        "total_successes": 22,
        "total_errors": 7,
        "success_rate": 22 / 33,
        "seed": 7,
        "headless": True,
    }
    assert len(results) == len(records)
    for result, record in zip(results, records, strict=True):
        expected = record.to_dict() | {"episode_idx": record.episode}
        expected.pop("actions", None)  # where they lie is the journal's business
        if record.configuration == "float32":
            expected["mode"] = None
        assert result | {"episode": result["episode_idx"]} == expected


def test_rates_json(run_folder: Path) -> None:
    build(run_folder)
    content = json.loads((run_folder / "results.json").read_text())
    assert list(content) == ["float32", "float8_e4m3_weights_only", "boolean_weights_only", "int8_both"]
    assert content["float32"] == {
        "scene_1": {"success_rate": 0.8, "successful_episodes": 4, "total_episodes": 5, "errors": 0},
        "scene_2": {"success_rate": 1.0, "successful_episodes": 4, "total_episodes": 4, "errors": 1},
        "avg_success_rate": pytest.approx(0.9),
    }
    broken = content["boolean_weights_only"]
    assert broken["scene_2"] == {
        "success_rate": None,
        "successful_episodes": 0,
        "total_episodes": 0,
        "errors": 5,
    }
    assert broken["avg_success_rate"] == 0.0
