"""Sources of demonstrations: tasks, sentences and collector. Imports a simulator only to collect."""

from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from headless_eval.contracts.simulator import Task
from headless_eval.policies.trained_on import TrainedOn
from headless_eval.sims.droid.precise.language import WORDINGS, Wording
from headless_eval.sims.registry import find_suite, find_tasks
from headless_eval.training.blocks import Block, collect_blocks
from headless_eval.training.phrasings import phrasings
from headless_eval.training.recipes import Config

SENTENCES = 1024
"""Sentences an instruction, where there are many."""


@dataclass(frozen=True)
class DemonstrationSource:
    """The demonstrations of one policy: their tasks, and how they are collected.

    Args:
        trained_on: the suite and the tasks.
        block: episodes per file.
        collector: what collects a block, see ``collect_blocks``.
        opengl: whether it needs OpenGL.
        episodes: demonstrations of each scene that suffice.
        wordings: what is asked for, where it is not the tasks' own instructions alone; the files number these.
    """

    trained_on: TrainedOn
    block: int
    collector: str
    opengl: bool = True
    episodes: int = 3000
    wordings: tuple[Wording, ...] = ()

    @property
    def tasks(self) -> tuple[Task, ...]:
        """Return the tasks."""
        return find_tasks(find_suite(self.trained_on.suite).load_tasks(), self.trained_on.tasks)

    @property
    def scenes(self) -> tuple[tuple[Task, ...], ...]:
        """Return the tasks by scene: a family's difficulties have one scene, any other task has its own."""
        groups = groupby(self.tasks, lambda task: task.difficulty.family if task.difficulty else task.key)
        return tuple(tuple(tasks) for _, tasks in groups)

    def sentences(self, seed: int) -> list[tuple[str, ...]]:
        """Return, for each instruction of the files in order, equally many sentences that training draws from."""
        if not self.wordings:
            return [(task.instruction,) for task in self.tasks]
        generator = np.random.default_rng(seed)
        return [
            phrasings(wording.instruction, wording.training, SENTENCES, generator)
            for wording in self.wordings
        ]

    def collect(
        self, folder: Path, episodes: int, seed: int, horizon: int, image_size: int, workers: int
    ) -> list[Path]:
        """Collect ``episodes`` demonstrations of each scene; blocks already on disk are kept.

        Raises:
            UserError: demonstrations are missing on disk, and the simulator or OpenGL is not available.
        """
        blocks = [
            Block(scene, first, min(self.block, episodes - first), seed, horizon, image_size)
            for first in range(0, episodes, self.block)
            for scene, _ in enumerate(self.scenes, 1)
        ]
        return collect_blocks(folder, blocks, self.collector, workers, self.opengl)


_SIMPLER = "headless_eval.training.simpler_demonstrations"
SOURCES = {
    "droid": DemonstrationSource(TrainedOn("droid"), 25, "headless_eval.training.demonstrations"),
    "pi0-precise-tiny": DemonstrationSource(
        TrainedOn("droid_precise"),
        10,
        "headless_eval.training.precise_demonstrations",
        episodes=1200,
        wordings=tuple(WORDINGS.values()),
    ),
    # The milk: it stands upright, and is half as wide as the gripper opens.
    "libero": DemonstrationSource(
        TrainedOn("libero_object", ("task_7",)), 5, "headless_eval.training.libero_demonstrations"
    ),
    # Carrot on plate and stack cube; coke can lying and standing.
    "widowx": DemonstrationSource(
        TrainedOn("simpler_bridge", ("task_0", "task_2")), 5, f"{_SIMPLER}:collect_widowx", opengl=False
    ),
    "google_robot": DemonstrationSource(
        TrainedOn("simpler_fractal", ("task_0", "task_1", "task_2")),
        5,
        f"{_SIMPLER}:collect_google_robot",
        opengl=False,
    ),
}
"""By the policy's name, or else by its robot's."""


def find_source(config: Config) -> DemonstrationSource:
    """Return the source of a policy's demonstrations."""
    return SOURCES.get(config.name) or SOURCES[config.observation]
