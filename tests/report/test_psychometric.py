"""Curves of graded tasks: thresholds, differences in the unit of the levels, files, page and lines."""

import csv

import numpy as np
import pytest
from graded_cases import graded_manifest, graded_records, graded_tasks

from headless_eval.cli.main import main
from headless_eval.report import build
from headless_eval.report.psychometric import curve_lines, curves_of, say_shift, say_threshold
from headless_eval.results import RunDirectory

TASKS = graded_tasks()
NAMES = ["float32", "int4_both"]


def curves(thresholds, episodes=40, tasks=TASKS, **more):
    stated = graded_manifest(tasks, list(thresholds))
    return {
        one.configuration: one
        for one in curves_of(graded_records(thresholds, tasks, episodes), stated, "float32", **more)
    }


def test_a_precision_that_needs_more_clearance_is_said_so_in_millimetres():
    found = curves({"float32": 1.0, "int4_both": 2.4})
    assert found["float32"].fit.threshold.value == pytest.approx(1.0, rel=0.2)
    shift = found["int4_both"].shift
    assert shift.interval.low < 1.4 < shift.interval.high
    assert shift.value == pytest.approx(1.4, abs=0.5)
    assert found["int4_both"].worse
    assert found["int4_both"].differs
    low, high = (f"{end:.2g}" for end in shift.interval)
    assert say_shift(found["int4_both"], "float32") == (
        f"int4_both needs {shift.value:.2g} mm more than float32 ({low} to {high}) to succeed in 50 %."
    )


def test_the_same_threshold_is_not_shown_to_differ():
    one = curves({"float32": 1.5, "int8_both": 1.5})["int8_both"]
    assert one.shift.value == pytest.approx(0, abs=1e-9)  # the same episodes succeed
    assert "int8_both is not shown to differ from float32" in say_shift(one, "float32")


def test_where_more_is_harder_a_worse_precision_bears_less():
    tasks = graded_tasks("carry", (2.0, 4.0, 8.0, 16.0), unit="degrees", harder="more")
    records = graded_records({"float32": 2.0, "int4_both": 5.0}, tasks, 60)
    # In these the chance rises with the level: turned, the hard levels are those that fail.
    turned = [
        one.__class__(
            **{**one.to_dict(), "status": "failure" if one.success else "success", "success": not one.success}
        )
        for one in records
    ]
    _, int4 = curves_of(turned, graded_manifest(tasks, NAMES), "float32")
    assert int4.shift.value > 0
    assert not int4.worse
    assert "int4_both bears" in say_shift(int4, "float32")
    assert "degrees more" in say_shift(int4, "float32")


def test_a_baseline_that_solves_everything_gives_a_difference_of_at_least():
    found = curves({"float32": 0.01, "int4_both": 2.0})
    assert found["float32"].fit.beyond == "harder"
    assert say_threshold(found["float32"]) == "below 0.5 mm, beyond the tested levels"
    near = curves({"float32": 0.4}, 6)["float32"]
    assert (
        say_threshold(near)
        == f"below 0.5 mm, beyond the tested levels (at most {near.fit.threshold.high:.2g})"
    )
    assert found["int4_both"].shift.censored
    low = found["int4_both"].shift.interval.low
    assert f"int4_both needs at least {low:.2g} mm more than float32 to" in say_shift(
        found["int4_both"], "float32"
    )
    both = curves({"float32": 0.01, "int8_both": 0.01})["int8_both"]
    assert say_shift(both, "float32") == (
        "int8_both is not shown to differ from float32: 50 % succeed below 0.5 mm, beyond the tested levels."
    )
    never = curves({"float32": 1.0, "boolean_both": 1000.0})["boolean_both"]
    assert say_threshold(never) == "above 8 mm, beyond the tested levels"


def test_another_performance_is_another_threshold():
    half, most = (
        curves({"float32": 1.5}, performance=rate)["float32"].fit.threshold.value for rate in (0.5, 0.8)
    )
    assert most > 1.2 * half


def test_only_episodes_that_both_ran_are_compared():
    records = graded_records({"float32": 1.0, "int4_both": 2.4}, TASKS, 20)
    less = [one for one in records if one.configuration == "float32" or one.episode < 10]
    some = graded_records({"float32": 1.0, "int4_both": 2.4}, TASKS, 20)
    some = [one for one in some if one.episode < 10]
    stated = graded_manifest(TASKS, NAMES)
    assert curves_of(less, stated, "float32")[1].shift == curves_of(some, stated, "float32")[1].shift
    assert sum(curves_of(less, stated, "float32")[0].episodes) == 100


def test_runs_without_graded_tasks_have_no_curves(records):
    assert curves_of(records, {"tasks": [{"id": 1}]}, "float32") == ()
    assert curves_of(records, {}, "float32") == ()
    one_level = graded_records({"float32": 1.0}, TASKS[:1], 10)
    assert curves_of(one_level, graded_manifest(TASKS, NAMES), "float32") == ()


@pytest.fixture
def run(tmp_path):
    stated = graded_manifest(TASKS, NAMES, episodes=15)
    with RunDirectory.create(tmp_path / "run", stated) as directory:
        for one in graded_records({"float32": 1.0, "int4_both": 2.4}, TASKS, 15):
            directory.append(one)
        directory.finish(0)
    return directory.path


def test_file_image_page_and_terminal_tell_the_same(run, capsys):
    summary = build(run)
    one, other = summary.curves
    with (run / "psychometric.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["configuration"] for row in rows] == NAMES
    assert float(rows[1]["difference"]) == pytest.approx(other.shift.value)
    assert float(rows[0]["threshold_low"]) < 1.0 < float(rows[0]["threshold_high"])
    assert (rows[0]["difference"], rows[0]["unit"], rows[0]["performance"]) == ("", "mm", "0.5")
    assert (run / "psychometric.png").read_bytes().startswith(b"\x89PNG")
    page = (run / "report.html").read_text()
    assert 'href="./psychometric.csv"' in page
    assert say_shift(other, "float32") in page
    assert "<polyline" in page
    assert page.count("<polyline") == 2
    assert main(["report", str(run)]) == 0
    out = capsys.readouterr().out
    assert all(line in out for line in curve_lines(summary.curves, "float32"))
    assert f"insert, mm: float32 succeeds in 50 % at {say_threshold(one)}." in out


def test_the_rate_of_thresholds_is_chosen(run, capsys):
    assert main(["report", str(run), "--threshold", "0.8"]) == 0
    assert "succeeds in 80 % at" in capsys.readouterr().out
    assert main(["report", str(run), "--threshold", "0.95"]) == 2
    assert "--threshold is 0.95" in capsys.readouterr().err


def test_curves_take_little_time_with_many_episodes():
    found = curves({name: 1.0 + index / 4 for index, name in enumerate(["float32", "a", "b", "c"])}, 200)
    assert len(found) == 4
    assert np.isfinite([one.fit.threshold.value for one in found.values()]).all()
