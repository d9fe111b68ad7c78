"""The suites by name. Nothing of a suite is imported until it is asked for."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from headless_eval.errors import UserError
from headless_eval.sims.simulator import Simulator, Task
from headless_eval.suggest import unknown


@dataclass(frozen=True)
class Suite:
    """A suite of tasks and the simulators that can run it.

    Args:
        name: what the command line calls it.
        summary: one line for people.
        tasks: where its tasks are, as ``module:attribute``.
        simulators: simulator name to ``module:factory``; the first is the default.
    """

    name: str
    summary: str
    tasks: str
    simulators: Mapping[str, str]

    def load_tasks(self) -> tuple[Task, ...]:
        """Return the suite's tasks; no simulator is started."""
        return tuple(_load(self.tasks))

    def make(self, simulator: str | None, *, num_slots: int, **settings: Any) -> Simulator:
        """Start a simulator of this suite.

        Args:
            simulator: its name; None for the default.
            num_slots: how many episodes it runs at once.
            settings: whatever else the simulator takes.

        Raises:
            UserError: if there is no such simulator, or it cannot run on this machine.
        """
        name = simulator or next(iter(self.simulators))
        if name not in self.simulators:
            raise unknown(f"simulator of the suite {self.name}", name, self.simulators)
        return _load(self.simulators[name])(num_slots=num_slots, **settings)


SUITES = {
    suite.name: suite
    for suite in (
        Suite(
            "droid",
            "three table-top scenes with a Franka Panda, 7 joint targets and a gripper at 15 Hz",
            tasks="headless_eval.sims.droid.tasks:TASKS",
            simulators={"mujoco": "headless_eval.sims.droid.backends:mujoco"},
        ),
    )
}


def find_suite(name: str) -> Suite:
    """Return the suite of that name.

    Raises:
        UserError: if there is none.
    """
    if name not in SUITES:
        raise unknown("suite", name, SUITES)
    return SUITES[name]


def find_tasks(tasks: Iterable[Task], wanted: Iterable[str]) -> tuple[Task, ...]:
    """Return the tasks with these ids or keys, in the order wanted; all of them if none is.

    Raises:
        UserError: if there is no such task, or one is wanted twice.
    """
    tasks = tuple(tasks)
    by_name = {str(task.id): task for task in tasks} | {task.key: task for task in tasks}
    found: list[Task] = []
    for name in wanted:
        if name not in by_name:
            raise unknown("task", name, [f"{task.id} ({task.key})" for task in tasks])
        if by_name[name] in found:
            raise UserError(f"the task {name} is named twice; name each task once")
        found.append(by_name[name])
    return tuple(found) or tasks


def _load(place: str) -> Any:
    module, _, attribute = place.partition(":")
    return getattr(import_module(module), attribute)
