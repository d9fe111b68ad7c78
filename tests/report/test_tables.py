"""The summary as a table for the terminal."""

import os
import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from rich.console import Console

from headless_eval.contracts.simulator import Task
from headless_eval.quant.precision import BENCHMARK_DTYPES, MODES, configurations
from headless_eval.report import Summary, summarize
from headless_eval.report.summary import pairs_to_detect
from headless_eval.report.tables import detection_text, format_p, rich_table
from headless_eval.results import EpisodeRecord


def shown(summary: Summary, width: int) -> str:
    """The table as a terminal of this width shows it."""
    console = Console(width=width, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(rich_table(summary))
    return console.export_text()


def test_rows(summary: Summary) -> None:
    text = " ".join(shown(summary, 200).split())
    assert "precision scene_1 scene_2 success rate % Δ float32 p sees errors" in text
    assert "Episodes with an error (7)" in text
    rows = {line[0]: line[1:] for line in map(str.split, shown(summary, 200).splitlines()) if line}
    assert rows["float32"] == ["4/5", "4/4", "8/9", "89", "[57,", "98]", "1"]
    assert rows["float8_e4m3_weights_only"][:7] == ["3/5", "2/5", "5/10", "50", "[24,", "76]", "−44"]
    # Alone McNemar's p is 0.22; the second smallest of three is doubled.
    assert rows["float8_e4m3_weights_only"][-2:] == ["0.44", "–"]
    assert rows["boolean_weights_only"][:6] == ["0/5", "–", "0/5", "0", "[0,", "43]"]


@pytest.mark.parametrize(("width", "has_tasks"), [(140, True), (80, False)])
def test_rich_fits_the_terminal(summary: Summary, width: int, has_tasks: bool) -> None:
    text = shown(summary, width)
    assert ("scene_1" in text) == has_tasks
    assert "…" not in text
    assert "8/9 " in text
    assert "89 [57, 98]" in text


def test_names_with_a_hash_are_explained(records: list[EpisodeRecord]) -> None:
    scoped = [
        replace(one, configuration=f"{one.configuration}_scope_89b8ade5", scope="expert")
        if one.configuration == "int8_both"
        else one
        for one in records
    ]
    assert "int8_both_scope_89b8ade5" in shown(summarize("droid", scoped), 140)
    text = " ".join(shown(summarize("droid", scoped), 140).split())
    assert "scope_89b8ade5: modules whose names match expert." in text
    assert "scope" not in shown(summarize("droid", records), 140)


def test_what_episodes_show_is_in_points(record_maker: Callable[..., EpisodeRecord]) -> None:
    task = Task(1, "scene_1", "cube in bowl", "put the cube in the bowl", 450)
    records = [record_maker(name, task, i, "s") for name in ("float32", "int8_both") for i in range(50)]
    text = shown(summarize("droid", records), 200)
    (row,) = (line.split() for line in text.splitlines() if line.startswith(" int8_both"))
    assert re.fullmatch("−[1-9][0-9]", row[-1])
    assert "smallest drop, in points" in " ".join(text.split())


def test_a_run_without_episodes_has_no_table() -> None:
    assert shown(summarize("droid", []), 80) == "No episode has run.\n"


def test_22_configurations_are_whole_on_80_columns(record_maker: Callable[..., EpisodeRecord]) -> None:
    task = Task(1, "scene_1", "cube in bowl", "put the cube in the bowl", 450)
    names = ["float32", *(one.name for one in configurations(BENCHMARK_DTYPES[1:], MODES))]
    records = [
        record_maker(name, task, episode, "s" if name == "float32" else "f")
        for name in names
        for episode in range(120)
    ]
    text = shown(summarize("droid", records), 80)
    assert "precision" in text
    assert "sees" in text
    assert "…" not in text
    assert all(f" {name} " in text for name in names)


def test_a_single_configuration_has_no_comparison(records: list[EpisodeRecord]) -> None:
    text = shown(summarize("droid", [one for one in records if one.configuration == "float32"]), 140)
    assert "Δ" not in text
    assert "McNemar" not in text


def test_how_many_episodes_a_drop_needs(summary: Summary, records: list[EpisodeRecord]) -> None:
    text = detection_text(summary, 0.1)
    needed = pairs_to_detect(summary, 0.1)
    assert text.splitlines()[0].startswith("To detect a drop of 10 points with 80 % power")
    assert [line.split()[:2] for line in text.splitlines()[1:]] == [[k, str(n)] for k, n in needed.items()]
    assert detection_text(summary, 0.9).count("not possible") == 3
    alone = summarize("droid", [one for one in records if one.configuration == "float32"])
    assert "nothing to compare" in detection_text(alone, 0.1)


def test_p_values() -> None:
    assert [format_p(p) for p in (1.0, 0.25, 0.03125, 0.00123, 1e-9)] == [
        "1",
        "0.25",
        "0.031",
        "0.0012",
        "<0.001",
    ]
