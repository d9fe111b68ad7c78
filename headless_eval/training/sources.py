"""Sources of demonstrations by robot: tasks and collector. Imports a simulator only to collect."""

from dataclasses import dataclass
from pathlib import Path

from headless_eval.contracts.simulator import Task
from headless_eval.policies.trained_on import TrainedOn
from headless_eval.sims.registry import find_suite, find_tasks
from headless_eval.training.blocks import Block, collect_blocks


@dataclass(frozen=True)
class DemonstrationSource:
    """The demonstrations of one robot: their tasks, and how they are collected.

    Args:
        trained_on: the suite and the tasks.
        block: episodes per file.
        collector: what collects a block, see ``collect_blocks``.
        opengl: whether it needs OpenGL.
    """

    trained_on: TrainedOn
    block: int
    collector: str
    opengl: bool = True

    @property
    def tasks(self) -> tuple[Task, ...]:
        """Return the tasks; the files number them as scenes, from 1 on."""
        return find_tasks(find_suite(self.trained_on.suite).load_tasks(), self.trained_on.tasks)

    def collect(
        self, folder: Path, episodes: int, seed: int, horizon: int, image_size: int, workers: int
    ) -> list[Path]:
        """Collect ``episodes`` demonstrations of each task; blocks already on disk are kept.

        Raises:
            UserError: demonstrations are missing on disk, and the simulator or OpenGL is not available.
        """
        blocks = [
            Block(scene, first, min(self.block, episodes - first), seed, horizon, image_size)
            for first in range(0, episodes, self.block)
            for scene, _ in enumerate(self.tasks, 1)
        ]
        return collect_blocks(folder, blocks, self.collector, workers, self.opengl)


_SIMPLER = "headless_eval.training.simpler_demonstrations"
SOURCES = {
    "droid": DemonstrationSource(TrainedOn("droid"), 25, "headless_eval.training.demonstrations"),
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
