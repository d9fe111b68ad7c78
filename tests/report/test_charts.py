"""Data of the charts: groups, bars, labels and notes."""

from dataclasses import replace

import pytest

from headless_eval.report.charts import Chart, charts


@pytest.fixture
def made(summary):
    return charts(summary)


def test_the_baseline_is_the_first_group_and_tasks_are_bars(made):
    chart = made["weights_only"]
    assert isinstance(chart, Chart)
    assert list(chart.labels) == ["float32", "float8_e4m3", "boolean"]
    assert [series.label for series in chart.series] == ["cube in bowl", "can in mug"]
    assert [row.successes for row in chart.series[0].rows] == [4, 3, 0]
    assert chart.baseline == "float32"
    assert chart.reference == pytest.approx(8 / 9)


def test_the_chart_of_a_mode_that_did_not_run_is_the_baseline_with_a_sentence(made):
    assert made["activations_only"].labels == ["float32"]
    assert made["activations_only"].missing.endswith("no precision ran in this mode.")


def test_without_any_bar_the_reason_is_given(summary):
    quantized = [row for row in summary.rows if row.mode == "both"]
    assert (
        charts(replace(summary, rows=quantized))["weights_only"]
        == "Weights only: no precision ran in this mode."
    )


def test_the_overall_chart_has_a_bar_for_each_mode_that_ran(made):
    chart = made["overall"]
    assert list(chart.labels) == ["float32", "float8_e4m3", "boolean", "int8"]
    assert [series.colour for series in chart.series] == [None, 0, 2]
    assert [row and row.successes for row in chart.series[1].rows] == [None, 5, 0, None]


def test_the_caption_counts_episodes_and_errors(made):
    assert made["weights_only"].counts == "4–5 episodes per bar"
    assert "not counted: 6 with errors" in made["weights_only"].note
