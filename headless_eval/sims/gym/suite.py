"""``GymSuite``: a Gymnasium environment as a suite. Imports no Gymnasium."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from headless_eval.contracts.robots import ROBOTS, Robot
from headless_eval.contracts.simulator import Simulator, Task
from headless_eval.errors import UserError
from headless_eval.sims.gym.recipe import Recipe, Source, default_pictures, default_state
from headless_eval.sims.registry import SimulatorSettings, Suite


class GymSuite(Suite):
    """A suite whose episodes run in a Gymnasium environment.

    Each slot has an environment of its own, which is reset with a seed of the trial (``env.reset(seed=...)``). An
    episode ends with success, after ``max_steps`` steps, or when the environment terminates or truncates it. A step
    that raises an exception makes its episode an error, and the slot gets a new environment.

    Args:
        make: a function without arguments that returns a new environment, or the id that ``gymnasium.make`` takes, with
            the module that registers it: ``"gym_pusht:gym_pusht/PushT-v0"``. If ``instruction`` names several tasks,
            the function is called with a task's key.
        robot: the robot whose observations the suite gives and whose actions it takes, or its name.
        instruction: the task's instruction; or the instructions of several tasks by their keys.
        success_key: the key of ``info`` that tells success; or a function ``(reward, terminated, info) -> bool``.
        name: the suite's name.
        max_steps: control steps that an episode may take.
        summary: description of one line; by default made of the instruction.
        pictures: the source of each camera of the robot, by its key; by default a single camera shows what
            ``env.render()`` draws (``"render"``; the environment needs ``render_mode="rgb_array"``).
        state: the source of each state group of the robot, and of further entries of an observation, by key; by default
            a single group is the environment's whole observation. A source is a path in the environment's observation,
            such as ``"agent_pos"``, or a function of the environment without its wrappers.
        action: converts a robot's action, float32 (action_dims,), to the environment's; by default it gets the type and
            the shape of the action space, or is rounded for a discrete one.
        metrics: units of metrics, by the key of ``info``; ``"reward"`` is the latest reward, ``"return"`` their sum.
        control_hz: control steps per second; by default the robot's.
        libraries: distributions whose versions the manifest states, beside gymnasium and the environment's own.
        deterministic: whether an episode repeats bit for bit; if not, ``verify`` compares rates and not actions.
        package: what to install where the environment cannot be imported, for the message.

    Raises:
        UserError: the robot is unknown, another robot has its name, a camera or a state group has no source, or the
            name is no name for files.
    """

    def __init__(
        self,
        make: str | Callable[..., Any],
        robot: Robot | str,
        instruction: str | Mapping[str, str],
        success_key: str | Callable[[float, bool, Mapping[str, Any]], bool],
        *,
        name: str,
        max_steps: int,
        summary: str | None = None,
        pictures: Mapping[str, Source] | None = None,
        state: Mapping[str, Source] | None = None,
        action: Callable[[np.ndarray], Any] | None = None,
        metrics: Mapping[str, str] | None = None,
        control_hz: float | None = None,
        libraries: Sequence[str] = (),
        deterministic: bool = True,
        package: str | None = None,
    ) -> None:
        known = _known(robot)
        several = not isinstance(instruction, str)
        by_key = instruction if isinstance(instruction, Mapping) else {name: instruction}
        tasks = tuple(
            Task(number, key, key, text, max_steps)
            for number, (key, text) in enumerate(by_key.items(), start=1)
        )
        recipe = Recipe(
            suite=name,
            make=make,
            named_tasks=several,
            robot=known,
            success=success_key,
            pictures=default_pictures(known) if pictures is None else pictures,
            state=default_state(known) if state is None else state,
            action=action,
            metrics=metrics or {},
            control_hz=known.control_hz if control_hz is None else control_hz,
            libraries=tuple(libraries),
            deterministic=deterministic,
            package=package,
        )
        super().__init__(
            name=name,
            summary=summary or f"Gymnasium environment: {next(iter(by_key.values()), '')}",
            tasks=tasks,
            simulators={"gymnasium": partial(_start, recipe, tasks)},
            robot=known.name,
        )


def _start(
    recipe: Recipe,
    all_tasks: tuple[Task, ...],
    settings: SimulatorSettings,
    *,
    num_slots: int,
    tasks: Sequence[Task],
    **options: Any,
) -> Simulator:
    """Start the simulator; pictures keep the environment's size, so the other options of ``Suite.make`` do nothing."""
    from headless_eval.sims.gym.simulator import GymSimulator

    return GymSimulator(recipe, all_tasks, num_slots=num_slots, first=tasks[0])


def _known(robot: Robot | str) -> Robot:
    """Return a robot by its name, or register it, so that policies and messages find it by its name."""
    if isinstance(robot, str):
        return ROBOTS.find(robot)
    if robot.name not in ROBOTS:
        return ROBOTS.add(robot.name, robot)
    if ROBOTS.find(robot.name) != robot:
        raise UserError(f"there is another robot named {robot.name!r}: give this one another name")
    return robot
