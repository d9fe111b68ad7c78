"""A hand-made run whose every count is known."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from headless_eval.contracts.simulator import Task
from headless_eval.contracts.variant import Variant
from headless_eval.report import Summary, summarize
from headless_eval.results import ERROR, EpisodeRecord, RunDirectory
from headless_eval.results.divergence import Divergence
from headless_eval.results.manifest import build_manifest

TASKS = [
    Task(1, "scene_1", "cube in bowl", "put the cube in the bowl", 450),
    Task(2, "scene_2", "can in mug", "put the can in the mug", 450),
]

# Per configuration and task, one letter an episode: success, failure, error.
OUTCOMES = {
    ("float32", 1): "ssssf",
    ("float32", 2): "sssse",
    ("float8_e4m3_weights_only", 1): "sffss",
    ("float8_e4m3_weights_only", 2): "fffss",
    ("boolean_weights_only", 1): "fffff",
    ("boolean_weights_only", 2): "eeeee",
    ("int8_both", 1): "sssss",
    ("int8_both", 2): "sesss",
}


def precision(name: str) -> SimpleNamespace:
    for mode in ("weights_only", "activations_only", "both"):
        if name.endswith(f"_{mode}"):
            return SimpleNamespace(name=name, dtype=name.removesuffix(f"_{mode}"), mode=mode, scope=".*")
    return SimpleNamespace(name=name, dtype=name, mode="weights_only", scope=".*")


def make_record(configuration: str, task: Task, episode: int, letter: str) -> EpisodeRecord:
    what = precision(configuration)
    status = {"s": "success", "f": "failure", "e": "error"}[letter]
    actions = hashlib.sha256(f"{configuration} {task.id} {episode}".encode()).hexdigest()
    error = {"type": "ValueError", "message": 'a "NaN",\nin joint 3', "traceback": "Traceback\n  …"}
    return EpisodeRecord(
        configuration=configuration,
        dtype=what.dtype,
        mode=what.mode,
        scope=what.scope,
        task_id=task.id,
        task_key=task.key,
        task_name=task.name,
        instruction=task.instruction,
        episode=episode,
        status=status,
        success=status == "success",
        steps=120 + episode if letter == "s" else 450,
        max_steps=450,
        seed=7,
        replans=57,
        actions_sha256=actions,
        video=f"videos/{configuration}/{task.key}_ep{episode:03d}_{status}.mp4",
        sim_s=0.5,
        render_s=0.25,
        infer_s=1.125,
        total_s=2.0,
        started_at="2026-11-21T08:00:00+00:00",
        error=error if status == ERROR else None,
    )


def make_run(
    folder: Path, records: Iterable[EpisodeRecord], configurations: list[str], tasks: list[Task] = TASKS
) -> Path:
    names = [precision(name) for name in configurations]
    manifest: dict[str, Any] = build_manifest(
        suite="droid",
        tasks=tasks,
        variants=[Variant(name) for name in names],
        episodes=5,
        seed=7,
        settings={},
        policy={},
        simulator={},
    )
    with RunDirectory.create(folder, manifest) as run:
        for record in records:
            run.append(record)
        run.finish(0)
    return folder


def add_errors(
    folder: Path, records: list[EpisodeRecord], errors: dict[str, Callable[[int], np.ndarray]]
) -> RunDirectory:
    """Append records of the baseline with actions, and answers of variants that differ by these errors."""
    generator = np.random.default_rng(0)
    with RunDirectory.open(folder, write=True) as run:
        found = []
        for record in records:
            executed = generator.standard_normal((record.steps, 8)).astype(np.float32)
            executed[:, 7] = (np.arange(record.steps) >= 9) & (np.arange(record.steps) < 18)
            record = replace(record, actions_sha256=hashlib.sha256(executed.tobytes()).hexdigest())
            run.append(record, executed)
            for name, error in errors.items():
                asked = (executed + error(record.steps)).astype(np.float32)
                hashes = record.actions_sha256, hashlib.sha256(asked.tobytes()).hexdigest()
                found.append(
                    (Divergence(name, record.task_id, record.episode, record.steps, 8, *hashes), asked)
                )
        run.divergences.add(found)
    return RunDirectory.open(folder)


@pytest.fixture(scope="session")
def error_adder() -> Callable[..., RunDirectory]:
    return add_errors


@pytest.fixture
def records() -> list[EpisodeRecord]:
    tasks = {task.id: task for task in TASKS}
    return [
        make_record(configuration, tasks[task], episode, letter)
        for (configuration, task), letters in OUTCOMES.items()
        for episode, letter in enumerate(letters)
    ]


@pytest.fixture
def run_folder(tmp_path: Path, records: list[EpisodeRecord]) -> Path:
    """A finished run, journalled in an order other than that of the report."""
    return make_run(tmp_path / "run", records[::-1], list(dict.fromkeys(name for name, _ in OUTCOMES)))


@pytest.fixture(scope="session")
def run_maker() -> Callable[..., Path]:
    return make_run


@pytest.fixture(scope="session")
def record_maker() -> Callable[..., EpisodeRecord]:
    return make_record


@pytest.fixture
def summary(records: list[EpisodeRecord]) -> Summary:
    return summarize("droid", records)
