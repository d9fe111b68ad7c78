"""Trials: the episodes that a run consists of."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from headless_eval.contracts.seeding import TrialSeed
from headless_eval.contracts.simulator import Task
from headless_eval.contracts.variant import Variant


@dataclass(frozen=True)
class Trial:
    """One episode to run: of which variant, of which task, with which seed.

    The seed does not contain the variant, so that all variants meet the same episodes. It is the task's own
    (``Task.trial_seed``), which a perturbed task shares with the plain one.
    """

    variant: Variant
    task: Task
    seed: TrialSeed

    @property
    def key(self) -> tuple[str, int, int]:
        """Return (variant's name, task id, episode index), which names the trial's record too."""
        return self.variant.name, self.task.id, self.seed.episode


def make_trials(variants: Iterable[Variant], tasks: Sequence[Task], episodes: int, seed: int) -> list[Trial]:
    """Return every episode of every task for every variant, in the order in which they start."""
    return [
        Trial(variant, task, task.trial_seed(seed, episode))
        for variant in variants
        for task in tasks
        for episode in range(episodes)
    ]
