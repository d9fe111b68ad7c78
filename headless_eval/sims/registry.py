"""The suites by name. Nothing of a suite is imported until it is asked for."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from headless_eval.contracts.simulator import Simulator, Task
from headless_eval.errors import UserError
from headless_eval.shared.suggest import unknown


@dataclass(frozen=True)
class Suite:
    """A suite of tasks and the simulators that can run it.

    Args:
        name: what the command line calls it.
        summary: one line for people.
        tasks: where its tasks are, as ``module:attribute``.
        simulators: simulator name to ``module:factory``; the first is the default.
        robot: whose observations and actions it has, as ``PolicyConfig.observation`` names them.
        settings: by simulator, what it takes of a run's settings besides slots and the size of pictures.
    """

    name: str
    summary: str
    tasks: str
    simulators: Mapping[str, str]
    robot: str = "droid"
    settings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def load_tasks(self) -> tuple[Task, ...]:
        """Return the suite's tasks; no simulator is started."""
        return tuple(_load(self.tasks))

    def settings_of(self, run: Any) -> dict[str, Any]:
        """Return what of a run's settings ``make`` takes for the run's simulator.

        Raises:
            UserError: there is no such simulator, or a setting is given that is another's.
        """
        simulator = self._simulator(run.sim)
        taken = self.settings.get(simulator, ())
        for suite in SUITES.values():
            for other, names in suite.settings.items():
                for name in names:
                    if name not in taken and name != "tasks" and getattr(run, name) is not None:
                        raise UserError(
                            f"--{name.replace('_', '-')} is no setting of --suite {self.name} --sim {simulator}, but "
                            f"of --suite {suite.name} --sim {other}: leave it out, or name those"
                        )
        return {name: getattr(run, name) for name in taken}

    def make(self, simulator: str | None, *, num_slots: int, **settings: Any) -> Simulator:
        """Start a simulator of this suite.

        Args:
            simulator: its name; None for the default.
            num_slots: how many episodes it runs at once.
            settings: whatever else the simulator takes.

        Raises:
            UserError: if there is no such simulator, or it cannot run on this machine.
        """
        return _load(self.simulators[self._simulator(simulator)])(num_slots=num_slots, **settings)

    def _simulator(self, name: str | None) -> str:
        name = name or next(iter(self.simulators))
        if name not in self.simulators:
            raise unknown(f"simulator of the suite {self.name}", name, self.simulators)
        return name


def _libero(part: str, summary: str) -> Suite:
    name = f"libero_{part}"
    return Suite(
        name,
        f"LIBERO, {summary}; poses relative to the present one and a gripper at 20 Hz",
        tasks=f"headless_eval.sims.libero.tasks:{name.upper()}",
        simulators={"mujoco": f"headless_eval.sims.libero.backends:{name}"},
        robot="libero",
        settings={"mujoco": ("libero_assets",)},
    )


SUITES = {
    suite.name: suite
    for suite in (
        Suite(
            "droid",
            "three table-top scenes with a Franka Panda, 7 joint targets and a gripper at 15 Hz",
            tasks="headless_eval.sims.droid.tasks:TASKS",
            simulators={
                "mujoco": "headless_eval.sims.droid.backends:mujoco",
                "isaaclab": "headless_eval.sims.droid.backends:isaaclab",
            },
            settings={"isaaclab": ("physics", "renderer", "sim_device", "isaac_assets", "tasks")},
        ),
        _libero("spatial", "10 tasks: one bowl of two, told apart by where it is, onto the plate"),
        _libero("object", "10 tasks: one of ten groceries into the basket"),
        _libero("goal", "10 tasks: goals of several kinds in one scene"),
        _libero("10", "10 tasks of two goals each, the longest"),
        _libero("90", "90 short tasks in kitchens, living rooms and studies"),
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
    """Return the tasks with these ids, keys or names, in the order wanted; all of them if none is.

    Raises:
        UserError: if there is no such task, or one is wanted twice.
    """
    tasks = tuple(tasks)
    by_name = {name: task for task in tasks for name in (str(task.id), task.key, task.name)}
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
