"""What each robot's demonstrations are of, and what collects them; no simulator is imported before it is needed."""

from dataclasses import dataclass
from pathlib import Path

from headless_eval.contracts.simulator import Task
from headless_eval.policies.trained_on import TrainedOn
from headless_eval.sims.registry import find_suite, find_tasks
from headless_eval.training.blocks import Block, collect_blocks


@dataclass(frozen=True)
class Source:
    """Where demonstrations come from.

    Args:
        trained_on: the tasks that they are of.
        block: episodes in a file.
        collector: the module that collects them, see ``collect_blocks``.
    """

    trained_on: TrainedOn
    block: int
    collector: str

    @property
    def tasks(self) -> tuple[Task, ...]:
        """Return the tasks; the first is scene 1 in the files."""
        return find_tasks(find_suite(self.trained_on.suite).load_tasks(), self.trained_on.tasks)

    def collect(
        self, folder: Path, episodes: int, seed: int, horizon: int, image_size: int, workers: int
    ) -> list[Path]:
        """Collect ``episodes`` demonstrations of each task; blocks already on disk are kept.

        Raises:
            UserError: some are missing, and the simulator or OpenGL is not there.
        """
        blocks = [
            Block(scene, first, min(self.block, episodes - first), seed, horizon, image_size)
            for first in range(0, episodes, self.block)
            for scene, _ in enumerate(self.tasks, 1)
        ]
        return collect_blocks(folder, blocks, self.collector, workers)


SOURCES = {
    "droid": Source(TrainedOn("droid"), 25, "headless_eval.training.demonstrations"),
    # The milk: upright, as wide as half the gripper opens.
    "libero": Source(
        TrainedOn("libero_object", ("task_7",)), 5, "headless_eval.training.libero_demonstrations"
    ),
}
