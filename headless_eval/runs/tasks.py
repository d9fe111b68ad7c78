"""The tasks that a run consists of: those of its suite, under each of its conditions."""

from dataclasses import replace

from headless_eval.config.run import RunConfig
from headless_eval.contracts.simulator import Task
from headless_eval.sims.perturbation import perturbed
from headless_eval.sims.registry import find_suite, find_tasks


def tasks_of(config: RunConfig) -> tuple[Task, ...]:
    """Return the tasks of a run, one condition after another, with the run's limit of steps.

    Raises:
        UserError: the suite or a task does not exist.
    """
    found = find_tasks(find_suite(config.suite).load_tasks(), config.tasks)
    tasks = [perturbed(task, condition) for condition in config.conditions for task in found]
    if config.max_steps is None:
        return tuple(tasks)
    return tuple(replace(task, max_steps=config.max_steps) for task in tasks)
