"""Data frames of runs."""

import subprocess
import sys

import numpy as np
import pytest
from record_cases import broken, record

from headless_eval.report.frames import (
    SUMMARY_COLUMNS,
    action_names,
    actions_frame,
    episodes_frame,
    summary_frame,
)
from headless_eval.report.summary import summarize


def test_a_mean_over_success_leaves_errors_out(records):
    frame = episodes_frame(records)
    rates = frame.groupby("configuration").success.mean()
    assert rates["float32"] == pytest.approx(8 / 9)  # 10 episodes, one of them an error
    assert rates["boolean_weights_only"] == 0  # of 5: the other 5 are errors
    assert frame.success.isna().sum() == (frame.status == "error").sum() == 7
    assert len(frame) == len(records)


def test_columns_have_the_types_of_their_values():
    frame = episodes_frame(
        [record(metrics={"distance": 1}), broken(episode=1), record(variant={"flow_steps": 5}, video=None)]
    )
    assert frame.steps.dtype == "int64"
    assert frame.metric_distance.tolist()[0] == 1.0
    assert frame.metric_distance.isna().tolist() == [False, True, True]
    assert frame.setting_flow_steps.isna().tolist() == [True, True, False]
    assert frame.video.isna().tolist() == [False, False, True]
    assert frame["mode"].isna().all()  # float32 does not round
    assert frame.error_type.tolist()[1] == "ValueError"
    assert str(frame.started_at.dt.tz) == "UTC"
    assert frame.started_at[0].microsecond == 250_000


def test_an_empty_run_has_the_same_columns():
    assert list(episodes_frame([]).columns) == list(episodes_frame([record()]).columns)
    assert tuple(summary_frame(summarize("droid", [])).columns) == SUMMARY_COLUMNS


def test_the_summary_has_the_numbers_of_the_report(summary):
    frame = summary_frame(summary)
    assert len(frame) == len(summary.rows)
    overall = frame[frame.task == "all"].set_index("configuration")
    for row in summary.overall:
        mine = overall.loc[row.configuration]
        assert (mine.successes, mine.episodes, mine.errors) == (row.successes, row.episodes, row.errors)
        if row.comparison:
            assert mine.difference == row.comparison.difference
            assert (mine.difference_low, mine.difference_high) == row.comparison.interval
            assert mine.p_holm == row.comparison.p_holm
    assert overall.loc["float32"][["difference", "p", "gained"]].isna().all()
    assert frame.query("configuration == 'boolean_weights_only' and task == 'scene_2'").rate.isna().all()


def test_actions_have_the_names_of_the_robot():
    frame = actions_frame(np.zeros((3, 8), np.float32), "droid")
    assert list(frame.columns) == [*(f"joint_{number}" for number in range(1, 8)), "gripper"]
    assert frame.index.name == "step"
    assert frame.to_numpy().dtype == np.float32
    assert list(actions_frame(np.zeros((1, 2)), "droid").columns) == ["action_0", "action_1"]
    assert action_names("not_installed") == []


def test_pandas_is_imported_only_when_it_is_needed():
    code = "import sys, headless_eval.report.run, headless_eval.export.table; print('pandas' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_time_that_is_none_is_missing():
    frame = episodes_frame([record(), record(episode=1, started_at="yesterday")])
    assert list(frame.started_at.isna()) == [False, True]
