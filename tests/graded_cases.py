"""Runs of graded tasks, made up: success depends on the level as a known curve says."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
from record_cases import manifest, record

from headless_eval.contracts.simulator import Difficulty, Task
from headless_eval.contracts.variant import Variant
from headless_eval.results import EpisodeRecord

LEVELS = (8.0, 4.0, 2.0, 1.0, 0.5)


def graded_tasks(
    family: str = "insert",
    levels: tuple[float, ...] = LEVELS,
    first: int = 31,
    unit: str = "mm",
    **known: Any,
) -> list[Task]:
    """Return a family's tasks; ``known`` are further fields of ``Difficulty``."""
    return [
        Task(
            number,
            f"{family}_{level:g}",
            family,
            family,
            450,
            Difficulty(family, level, unit, **{"harder": "less"} | known),
        )
        for number, level in enumerate(levels, first)
    ]


def graded_variant(name: str) -> Variant:
    return Variant(SimpleNamespace(name=name, dtype=name, mode="both", scope=".*"))


def chance_of_success(level: float, threshold: float, width: float = 1.0) -> float:
    """Return the probability: one half at the threshold; from 10 to 90 % within a factor of e to the ``width``."""
    return float(1 / (1 + np.exp(-2 * np.log(9) / width * np.log(level / threshold))))


def graded_records(
    thresholds: Mapping[str, float], tasks: list[Task], episodes: int, seed: int = 0, width: float = 1.0
) -> list[EpisodeRecord]:
    """Return records of variants with these thresholds; an episode is as hard for one variant as for another."""
    luck = np.random.default_rng(seed).random((len(tasks), episodes))
    found = []
    for name, threshold in thresholds.items():
        for task, lucks in zip(tasks, luck, strict=True):
            for episode, one in enumerate(lucks):
                assert task.difficulty is not None
                success = bool(one < chance_of_success(task.difficulty.value, threshold, width))
                found.append(
                    record(
                        configuration=name,
                        dtype=name,
                        task_id=task.id,
                        task_key=task.key,
                        episode=episode,
                        status="success" if success else "failure",
                        success=success,
                    )
                )
    return found


def graded_manifest(tasks: list[Task], names: list[str], **changes: Any) -> dict[str, Any]:
    return manifest(tasks=tasks, variants=[graded_variant(name) for name in names], **changes)
