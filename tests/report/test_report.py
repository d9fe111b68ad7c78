"""What is derived from a journal: the counts are right, errors are no failures, rebuilding changes nothing."""

import csv
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from headless_eval.cli.main import main
from headless_eval.contracts.simulator import Task
from headless_eval.errors import UserError
from headless_eval.quant.precision import BENCHMARK_DTYPES, MODES, configurations
from headless_eval.report import Summary, build, summarize
from headless_eval.report.exports import TIMING_COLUMNS
from headless_eval.report.power import detectable_drop, pairs_needed
from headless_eval.report.statistics import newcombe_paired_interval, wilson_interval
from headless_eval.report.summary import pairs_to_detect
from headless_eval.report.tables import detection_text, format_p, rich_table
from headless_eval.results import EpisodeRecord

PLOTS = [f"success_rate_{name}.png" for name in ("activations_only", "both", "overall", "weights_only")]


@pytest.fixture
def summary(records: list[EpisodeRecord]) -> Summary:
    return summarize("droid", records)


class TestSummary:
    def test_counts(self, summary: Summary) -> None:
        row = summary.row("float8_e4m3_weights_only", "scene_1")
        assert (row.successes, row.episodes, row.errors, row.rate) == (3, 5, 0, 0.6)
        row = summary.row("float32")
        assert (row.successes, row.episodes, row.errors) == (8, 9, 1)
        assert row.rate == 8 / 9
        assert row.interval == wilson_interval(8, 9)
        assert (summary.successes, summary.episodes, summary.errors) == (8 + 5 + 9, 9 + 10 + 5 + 9, 1 + 5 + 1)

    def test_rows_follow_configurations_then_tasks_then_all(self, summary: Summary) -> None:
        assert [(row.configuration, row.task) for row in summary.rows] == [
            (configuration, task)
            for configuration in ("float32", "float8_e4m3_weights_only", "boolean_weights_only", "int8_both")
            for task in ("scene_1", "scene_2", None)
        ]
        with pytest.raises(KeyError):
            summary.row("float16_both")

    def test_an_error_is_no_failure(self, summary: Summary) -> None:
        row = summary.row("boolean_weights_only", "scene_2")
        assert (row.episodes, row.successes, row.errors) == (0, 0, 5)
        assert row.rate is row.interval is row.comparison is None

    def test_pairs_are_the_episodes_without_error_in_both(self, summary: Summary) -> None:
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

    def test_all_tasks_together_are_one_family_of_hypotheses(self, summary: Summary) -> None:
        compared = {row.configuration: row.comparison for row in summary.overall if row.comparison}
        raw = [one.p_value for one in compared.values()]
        assert raw == pytest.approx([7 / 32, 1 / 8, 1.0])
        assert [one.p_holm for one in compared.values()] == pytest.approx([2 * 7 / 32, 3 / 8, 1.0])
        tasks = [row.comparison for row in summary.rows if row.task and row.comparison]
        assert tasks
        assert all(one.p_holm is None and one.detectable is None for one in tasks)

    def test_what_the_pairs_could_have_shown(self, summary: Summary) -> None:
        one = summary.row("float8_e4m3_weights_only").comparison
        assert one is not None
        assert one.detectable is None  # nine pairs see no drop that leaves room for as many gains
        needed = pairs_to_detect(summary, 0.1)
        assert list(needed) == ["float8_e4m3_weights_only", "boolean_weights_only", "int8_both"]
        assert needed["float8_e4m3_weights_only"] == pairs_needed(0.1, 1.5 / 10, 0.05 / 3)
        # Nothing gained of five and one gained of eight: rates of 0.083 and 0.167.
        assert needed["int8_both"] > needed["float8_e4m3_weights_only"] > needed["boolean_weights_only"] > 100

    def test_decided_after_the_correction(self, record_maker: Callable[..., EpisodeRecord]) -> None:
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

    def test_float32_is_compared_with_nothing(self, summary: Summary) -> None:
        assert summary.row("float32").comparison is None

    def test_without_float32_nothing_is_compared(self, records: list[EpisodeRecord]) -> None:
        rest = summarize("droid", [record for record in records if record.configuration != "float32"])
        assert len(rest.rows) == 9
        assert all(row.comparison is None for row in rest.rows)

    def test_no_episodes_no_rows(self) -> None:
        assert summarize("droid", []).rows == ()


class TestFiles:
    def test_all_are_there_and_rebuilt_the_same(self, run_folder: Path) -> None:
        build(run_folder)
        files = {path.name: path.read_bytes() for path in run_folder.iterdir()}
        assert sorted(files) == sorted(
            [
                "droid_results.csv",
                "droid_results.json",
                "journal.jsonl",
                "manifest.json",
                "results.json",
                "report.html",
                *PLOTS,
            ]
        )
        for name in set(files) - {"journal.jsonl", "manifest.json"}:
            (run_folder / name).unlink()
        build(run_folder)
        assert {path.name: path.read_bytes() for path in run_folder.iterdir()} == files

    def test_csv(self, run_folder: Path, records: list[EpisodeRecord]) -> None:
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
        self, run_folder: Path, tmp_path: Path, records: list[EpisodeRecord], run_maker: Callable[..., Path]
    ) -> None:
        later = [
            replace(
                record, sim_s=9.0, render_s=9.0, infer_s=9.0, total_s=27.0, started_at="2027-01-01T00:00:00"
            )
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

    def test_suite_json(self, run_folder: Path, records: list[EpisodeRecord]) -> None:
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

    def test_rates_json(self, run_folder: Path) -> None:
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

    def test_a_run_without_episodes(self, tmp_path: Path, run_maker: Callable[..., Path]) -> None:
        folder = run_maker(tmp_path / "run", [], ["float32"])
        assert build(folder).rows == ()
        assert json.loads((folder / "results.json").read_text()) == {}
        content = json.loads((folder / "droid_results.json").read_text())
        assert (content["total_episodes"], content["success_rate"], content["results"]) == (0, None, [])
        assert all((folder / name).stat().st_size for name in PLOTS)

    def test_what_is_no_run_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="holds no run"):
            build(tmp_path)
        assert list(tmp_path.iterdir()) == []

    def test_a_failed_write_leaves_the_old_file(
        self, run_folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        build(run_folder)
        before = {path.name: path.read_bytes() for path in run_folder.iterdir()}

        def full(_: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(UserError, match="No space left"):
            build(run_folder)
        assert {path.name: path.read_bytes() for path in run_folder.iterdir()} == before


class TestPlots:
    @pytest.fixture
    def pictures(self, run_folder: Path) -> dict[str, np.ndarray]:
        build(run_folder)
        return {name: np.asarray(Image.open(run_folder / name).convert("RGB")) for name in PLOTS}

    def test_modes_that_ran_are_charts_and_others_a_note(self, pictures: dict[str, np.ndarray]) -> None:
        areas = {name: picture.shape[0] * picture.shape[1] for name, picture in pictures.items()}
        assert areas["success_rate_activations_only.png"] < 0.4 * areas["success_rate_weights_only.png"]
        assert areas["success_rate_both.png"] > 0.8 * areas["success_rate_weights_only.png"]
        for picture in pictures.values():
            assert (picture < 128).any(), "there is ink"

    def test_bars_have_the_rates_heights(self, pictures: dict[str, np.ndarray]) -> None:
        picture = pictures["success_rate_weights_only.png"]

        def heights(colour: tuple[int, int, int]) -> list[int]:
            """Return how high the bars of a colour are, from left to right, in pixels."""
            found = (picture == colour).all(axis=2)
            found[-round(0.15 * len(found)) :] = False  # the legend
            columns = np.flatnonzero(found.any(axis=0))
            # An interval's line may split a bar; the gap between two bars of a colour is wider.
            bars = np.split(columns, np.flatnonzero(np.diff(columns) > 15) + 1)
            return [int(np.ptp(np.flatnonzero(found[:, bar].any(axis=1)))) for bar in bars]

        first, second = heights((0, 0x72, 0xB2)), heights((0xE6, 0x9F, 0))
        # Scene 1: float32 80 %, float8 60 %, boolean 0 % (a foot).
        assert len(first) == 3
        assert first[0] / first[1] == pytest.approx(0.8 / 0.6, rel=0.02)
        assert first[2] < 0.03 * first[0]
        # Scene 2: float32 100 %, float8 40 %, boolean only errors: no bar.
        assert len(second) == 2
        assert second[0] / second[1] == pytest.approx(1 / 0.4, rel=0.02)
        assert second[0] / first[0] == pytest.approx(1 / 0.8, rel=0.02)

    def test_many_tasks_are_drawn_together(
        self, tmp_path: Path, run_maker: Callable[..., Path], record_maker: Callable[..., EpisodeRecord]
    ) -> None:
        tasks = [Task(index, f"task_{index}", f"task {index}", "do it", 450) for index in range(12)]
        names = ["float32", "int8_weights_only"]
        records = [
            record_maker(name, task, episode, "sf"[(task.id + episode) % 2])
            for name in names
            for task in tasks
            for episode in range(2)
        ]
        folder = run_maker(tmp_path / "run", records, names, tasks)
        build(folder)
        picture = np.asarray(Image.open(folder / "success_rate_weights_only.png").convert("RGB"))
        assert (picture == (0, 0x72, 0xB2)).all(axis=2).any()
        assert not (picture == (0xE6, 0x9F, 0)).all(axis=2).any()

    def test_pyplot_stays_unloaded(self, run_folder: Path) -> None:
        code = (
            "import sys; from headless_eval.report import build\n"
            "assert 'matplotlib' not in sys.modules and 'scipy' not in sys.modules\n"
            "build(sys.argv[1])\n"
            "assert 'matplotlib' in sys.modules and 'matplotlib.pyplot' not in sys.modules\n"
        )
        subprocess.run([sys.executable, "-c", code, run_folder], check=True)


def shown(summary: Summary, width: int) -> str:
    """The table as a terminal of this width shows it."""
    console = Console(width=width, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(rich_table(summary))
    return console.export_text()


class TestTables:
    def test_rows(self, summary: Summary) -> None:
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
    def test_rich_fits_the_terminal(self, summary: Summary, width: int, has_tasks: bool) -> None:
        text = shown(summary, width)
        assert ("scene_1" in text) == has_tasks
        assert "…" not in text
        assert "8/9 " in text
        assert "89 [57, 98]" in text

    def test_names_with_a_hash_are_explained(self, records: list[EpisodeRecord]) -> None:
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

    def test_what_episodes_show_is_in_points(self, record_maker: Callable[..., EpisodeRecord]) -> None:
        task = Task(1, "scene_1", "cube in bowl", "put the cube in the bowl", 450)
        records = [record_maker(name, task, i, "s") for name in ("float32", "int8_both") for i in range(50)]
        text = shown(summarize("droid", records), 200)
        (row,) = (line.split() for line in text.splitlines() if line.startswith(" int8_both"))
        assert re.fullmatch("−[1-9][0-9]", row[-1])
        assert "smallest drop, in points" in text

    def test_a_run_without_episodes_has_no_table(self) -> None:
        assert shown(summarize("droid", []), 80) == "No episode has run.\n"

    def test_22_configurations_are_whole_on_80_columns(
        self, record_maker: Callable[..., EpisodeRecord]
    ) -> None:
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

    def test_a_single_configuration_has_no_comparison(self, records: list[EpisodeRecord]) -> None:
        text = shown(summarize("droid", [one for one in records if one.configuration == "float32"]), 140)
        assert "Δ" not in text
        assert "McNemar" not in text

    def test_how_many_episodes_a_drop_needs(self, summary: Summary, records: list[EpisodeRecord]) -> None:
        text = detection_text(summary, 0.1)
        needed = pairs_to_detect(summary, 0.1)
        assert text.splitlines()[0].startswith("To detect a drop of 10 points with 80 % power")
        assert [line.split()[:2] for line in text.splitlines()[1:]] == [
            [k, str(n)] for k, n in needed.items()
        ]
        assert detection_text(summary, 0.9).count("not possible") == 3
        alone = summarize("droid", [one for one in records if one.configuration == "float32"])
        assert "nothing to compare" in detection_text(alone, 0.1)

    def test_the_command_says_how_many_episodes(
        self, run_folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["report", str(run_folder), "--detect", "0.1"]) == 0
        assert "To detect a drop of 10 points" in capsys.readouterr().out
        assert main(["report", str(run_folder), "--detect", "5"]) == 2
        assert "--detect is 5; it must be above 0 and at most 1" in capsys.readouterr().err

    def test_p_values(self) -> None:
        assert [format_p(p) for p in (1.0, 0.25, 0.03125, 0.00123, 1e-9)] == [
            "1",
            "0.25",
            "0.031",
            "0.0012",
            "<0.001",
        ]


@pytest.mark.slow
def test_100_000_episodes_in_under_a_minute_and_a_gigabyte(
    tmp_path: Path, run_maker: Callable[..., Path], record_maker: Callable[..., EpisodeRecord]
) -> None:
    names = [
        "float32",
        *(f"{dtype}_{mode}" for dtype in ("bfloat16", "int8") for mode in ("weights_only", "both")),
    ]
    tasks = [
        Task(index, f"task_{index}", f"pick up object {index}", "pick it up", 450) for index in range(20)
    ]
    folder = run_maker(tmp_path / "run", [], names, tasks)
    with open(folder / "journal.jsonl", "w", encoding="utf-8") as file:
        for episode in range(1000):
            for task in tasks:
                for index, name in enumerate(names):
                    letter = "ssssf"[(episode * (index + 1) + task.id) % 5] if episode % 97 else "e"
                    file.write(record_maker(name, task, episode, letter).to_json() + "\n")
    code = (
        "import sys, resource; from headless_eval.report import build\n"
        "summary = build(sys.argv[1]); assert summary.episodes + summary.errors == 100_000\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code, folder], check=True, capture_output=True, text=True)
    seconds, megabytes = time.perf_counter() - start, int(done.stdout) / 1024
    print(f"{seconds:.1f} s, {megabytes:.0f} MiB")
    assert seconds < 60
    assert megabytes < 1000
