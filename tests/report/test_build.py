"""What derives from a journal is all there, and rebuilding it changes nothing."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from headless_eval.contracts.simulator import Task
from headless_eval.errors import UserError
from headless_eval.report import build
from headless_eval.results import EpisodeRecord
from headless_eval.results.outcomes import QUANTITIES

PLOTS = [f"success_rate_{name}.png" for name in ("activations_only", "both", "overall", "weights_only")]


def test_all_are_there_and_rebuilt_the_same(run_folder: Path) -> None:
    build(run_folder)
    files = {path.name: path.read_bytes() for path in run_folder.iterdir()}
    assert sorted(files) == sorted(
        [
            "droid_results.csv",
            "droid_results.json",
            "journal.jsonl",
            "manifest.json",
            "outcomes.csv",
            "results.json",
            "report.html",
            *PLOTS,
        ]
    )
    for name in set(files) - {"journal.jsonl", "manifest.json"}:
        (run_folder / name).unlink()
    build(run_folder)
    assert {path.name: path.read_bytes() for path in run_folder.iterdir()} == files


def test_a_run_without_episodes(tmp_path: Path, run_maker: Callable[..., Path]) -> None:
    folder = run_maker(tmp_path / "run", [], ["float32"])
    assert build(folder).rows == ()
    assert json.loads((folder / "results.json").read_text()) == {}
    content = json.loads((folder / "droid_results.json").read_text())
    assert (content["total_episodes"], content["success_rate"], content["results"]) == (0, None, [])
    assert all((folder / name).stat().st_size for name in PLOTS)


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no run"):
        build(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file(run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(run_folder)
    before = {path.name: path.read_bytes() for path in run_folder.iterdir()}

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="No space left"):
        build(run_folder)
    assert {path.name: path.read_bytes() for path in run_folder.iterdir()} == before


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
                    value = (episode * 7919 + index * 104729 + task.id) % 1000 / 100
                    metrics = {outcome: value + place for place, outcome in enumerate(QUANTITIES)}
                    record = replace(record_maker(name, task, episode, letter), metrics=metrics)
                    file.write(record.to_json() + "\n")
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
