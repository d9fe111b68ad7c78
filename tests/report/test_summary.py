"""Counts, pairs and comparisons of a run's records."""

from collections.abc import Callable

import pytest

from headless_eval.contracts.simulator import Task
from headless_eval.report import Summary, summarize
from headless_eval.report.power import detectable_drop, pairs_needed
from headless_eval.report.statistics import newcombe_paired_interval, wilson_interval
from headless_eval.report.summary import pairs_to_detect
from headless_eval.results import EpisodeRecord


def test_counts(summary: Summary) -> None:
    row = summary.row("float8_e4m3_weights_only", "scene_1")
    assert (row.successes, row.episodes, row.errors, row.rate) == (3, 5, 0, 0.6)
    row = summary.row("float32")
    assert (row.successes, row.episodes, row.errors) == (8, 9, 1)
    assert row.rate == 8 / 9
    assert row.interval == wilson_interval(8, 9)
    assert (summary.successes, summary.episodes, summary.errors) == (8 + 5 + 9, 9 + 10 + 5 + 9, 1 + 5 + 1)


def test_rows_follow_configurations_then_tasks_then_all(summary: Summary) -> None:
    assert [(row.configuration, row.task) for row in summary.rows] == [
        (configuration, task)
        for configuration in ("float32", "float8_e4m3_weights_only", "boolean_weights_only", "int8_both")
        for task in ("scene_1", "scene_2", None)
    ]
    with pytest.raises(KeyError):
        summary.row("float16_both")


def test_an_error_is_no_failure(summary: Summary) -> None:
    row = summary.row("boolean_weights_only", "scene_2")
    assert (row.episodes, row.successes, row.errors) == (0, 0, 5)
    assert row.rate is row.interval is row.comparison is None


def test_pairs_are_the_episodes_without_error_in_both(summary: Summary) -> None:
    # float8 against float32: scene 1 sffss/ssssf, scene 2 fffs(s)/ssss(e): the last pair is left out.
    comparison = summary.row("float8_e4m3_weights_only").comparison
    assert comparison is not None
    assert (comparison.pairs, comparison.gained, comparison.lost) == (9, 1, 5)
    assert comparison.difference == pytest.approx(-4 / 9)
    assert comparison.interval == newcombe_paired_interval(3, 1, 5, 0)
    assert comparison.p_value == pytest.approx(2 * (1 + 6) / 2**6)
    # int8: sssss/ssssf and sesss/sssse.
    comparison = summary.row("int8_both").comparison
    assert comparison is not None
    assert (comparison.pairs, comparison.gained, comparison.lost) == (8, 1, 0)


def test_all_tasks_together_are_one_family_of_hypotheses(summary: Summary) -> None:
    compared = {row.configuration: row.comparison for row in summary.overall if row.comparison}
    raw = [one.p_value for one in compared.values()]
    assert raw == pytest.approx([7 / 32, 1 / 8, 1.0])
    assert [one.p_holm for one in compared.values()] == pytest.approx([2 * 7 / 32, 3 / 8, 1.0])
    tasks = [row.comparison for row in summary.rows if row.task and row.comparison]
    assert tasks
    assert all(one.p_holm is None and one.detectable is None for one in tasks)


def test_what_the_pairs_could_have_shown(summary: Summary) -> None:
    one = summary.row("float8_e4m3_weights_only").comparison
    assert one is not None
    assert one.detectable is None  # nine pairs see no drop that leaves room for as many gains
    needed = pairs_to_detect(summary, 0.1)
    assert list(needed) == ["float8_e4m3_weights_only", "boolean_weights_only", "int8_both"]
    assert needed["float8_e4m3_weights_only"] == pairs_needed(0.1, 1.5 / 10, 0.05 / 3)
    # Nothing gained of five and one gained of eight: rates of 0.083 and 0.167.
    assert needed["int8_both"] > needed["float8_e4m3_weights_only"] > needed["boolean_weights_only"] > 100


def test_decided_after_the_correction(record_maker: Callable[..., EpisodeRecord]) -> None:
    task = Task(1, "scene_1", "cube in bowl", "put the cube in the bowl", 450)
    letters = {
        "float32": "s" * 20 + "f" * 20,
        "int8_both": "f" * 6 + "s" * 14 + "f" * 20,  # p = 1/32, the third smallest of four: 2/32
        "boolean_both": "f" * 40,
        "bfloat16_both": "s" * 40,
        "float16_both": "s" * 20 + "f" * 20,
    }
    records = [
        record_maker(name, task, episode, letter)
        for name, outcomes in letters.items()
        for episode, letter in enumerate(outcomes)
    ]
    rows = summarize("droid", records).overall
    assert [row.comparison and row.comparison.decided for row in rows] == [
        None,
        None,
        "worse",
        "better",
        None,
    ]
    alone = summarize("droid", [one for one in records if one.configuration in ("float32", "int8_both")])
    comparison = alone.row("int8_both").comparison
    assert comparison is not None
    assert (comparison.decided, comparison.p_holm) == ("worse", 1 / 32)
    assert comparison.detectable == detectable_drop(40, 0.5 / 41, 0.5, 0.05)
    assert 0.1 < comparison.detectable < 0.3


def test_float32_is_compared_with_nothing(summary: Summary) -> None:
    assert summary.row("float32").comparison is None


def test_without_float32_nothing_is_compared(records: list[EpisodeRecord]) -> None:
    rest = summarize("droid", [record for record in records if record.configuration != "float32"])
    assert len(rest.rows) == 9
    assert all(row.comparison is None for row in rest.rows)


def test_no_episodes_no_rows() -> None:
    assert summarize("droid", []).rows == ()
