"""Trials of records that are run again: which they are, and whether they have to come out the same."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from headless_eval.errors import UserError
from headless_eval.results import EpisodeRecord
from headless_eval.rollout.trials import Trial
from headless_eval.runs.evaluator import Evaluator

SAMPLE = 10
"""How many trials are run again by default."""


def trials_of(records: Sequence[EpisodeRecord], evaluator: Evaluator, where: object) -> list[Trial]:
    """Return the trials that some records are of.

    Args:
        records: in the order of their variants.
        evaluator: with the settings of their run.
        where: they come from, for messages.

    Raises:
        UserError: the run's settings do not name the configuration or the task of a record.
    """
    tasks = {task.id: task for task in evaluator.tasks}
    variants = {variant.name: variant for variant in evaluator.settings.variants}
    trials = []
    for record in records:
        if record.configuration not in variants or record.task_id not in tasks:
            raise UserError(
                f"{where}: its settings do not name the trial {record.trial}; it cannot be repeated"
            )
        # The run's own limit of steps, should the suite's be another by now.
        task = replace(tasks[record.task_id], max_steps=record.max_steps)
        seed = task.trial_seed(record.seed, record.episode)
        trials.append(Trial(variants[record.configuration], task, seed))
    return trials


def repeats(manifest: Mapping[str, Any]) -> bool:
    """Return whether a run's simulator and policy repeat an episode to the bit; the manifest says so."""
    simulator, policy = manifest.get("simulator"), manifest.get("policy")
    statistical = isinstance(simulator, Mapping) and simulator.get("determinism") == "statistical"
    return not statistical and not (isinstance(policy, Mapping) and policy.get("determinism") == "not given")
