"""Interface of simulators: tasks, slots, steps, frames, metrics."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np

from headless_eval.contracts.seeding import TrialSeed

MAX_ACTION = 100.0
"""Limit of an action's magnitude: 16 turns of a joint, or a hundred times a normalised command."""


@dataclass(frozen=True)
class Difficulty:
    """How hard a task is, as a number with a unit; tasks of one family differ in this number alone.

    Args:
        family: the name that the tasks of one scale share, such as ``insert``.
        value: the number, such as 2.0 for a clearance of 2 mm.
        unit: its unit, such as ``mm`` or ``degrees``.
        harder: whether ``less`` or ``more`` of it is harder.
        chance: success of a policy that guesses, such as 0.25 where one of four has to be chosen.
    """

    family: str
    value: float
    unit: str
    harder: Literal["less", "more"]
    chance: float = 0.0


@dataclass(frozen=True)
class Task:
    """One task of a suite; ``key`` is the name in file names and in ``results.json`` (``scene_1``).

    Args:
        difficulty: how hard the task is, where it is one of a scale.
        perturbation: what the task is changed by: levels of axes, ``("light", 2)``, or sizes of their quantities,
            ``("light.dim", 0.6)``; nothing for a suite's own tasks.
        seeded_as: the id that seeds are drawn by, where it is not the task's own: a perturbed task starts from the
            initial states of the plain task, with the same noise.
    """

    id: int
    key: str
    name: str
    instruction: str
    max_steps: int
    difficulty: Difficulty | None = None
    perturbation: tuple[tuple[str, float], ...] = ()
    seeded_as: int | None = None

    @property
    def plain_id(self) -> int:
        """Return the id of the task that this one is a perturbed version of; its own if it is not perturbed."""
        return self.id if self.seeded_as is None else self.seeded_as

    def trial_seed(self, seed: int, episode: int) -> TrialSeed:
        """Return the seed of an episode of this task, in a run with a seed."""
        return TrialSeed(seed, self.plain_id, episode)


@dataclass(frozen=True)
class StepResult:
    """Result of one control step.

    Args:
        success: whether the task's predicate holds.
        fault: the exception that broke the slot's episode, or None.
        metrics: further outcomes after this step, by name, such as ``{"distance": 0.12}``; each name is in
            ``Simulator.metrics``. An episode's record has the latest value of each; values that are not finite are left
            out.
        over: whether the episode ends with this step without success, before its limit of steps.
    """

    success: bool
    fault: Exception | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    over: bool = False


@dataclass(frozen=True)
class EpisodeOutcome:
    """What a simulator says of an episode that is over.

    Args:
        metrics: outcomes of the whole episode, by name, such as ``{"drops": 2}``; each name is in
            ``Simulator.metrics``. They join those of ``StepResult.metrics`` in the episode's record; values that are
            not finite are left out.
        reason: why the episode failed, such as ``missed_grasp`` (``results.outcomes.REASONS``); None if it did not
            fail, or why is not known.
        phase: the furthest phase of the task that the episode reached, such as ``grasp``; None if not known.
    """

    metrics: Mapping[str, float] = field(default_factory=dict)
    reason: str | None = None
    phase: str | None = None


def hash_of_state(state: np.ndarray | None) -> str | None:
    """Return the SHA-256 of a state's numbers, rounded to float32, little-endian; None for None.

    Rounded, because the last bit of a sine differs between processors.
    """
    if state is None:
        return None
    return hashlib.sha256(np.ascontiguousarray(state, "<f4").tobytes()).hexdigest()


class Simulator(Protocol):
    """A suite of tasks with ``num_slots`` independent episodes at once.

    A slot's episode depends only on its task, its seed and its actions, not on the number of slots or on other slots.

    These attributes are optional:

    - ``metrics``, the units of the entries of ``StepResult.metrics`` and ``EpisodeOutcome.metrics``, by name:
    ``{"distance": "m"}``, ``""`` for a number.
    - ``libraries``, the distributions whose versions episodes can depend on: ``("mujoco",)``.
    - ``max_action``, the limit of an action's magnitude, where it is not ``MAX_ACTION``; more is an error.
    - ``initial_state(slot)``, the numbers that a slot's episode starts from, an array of any shape, or None; asked
    after ``reset``. Records keep their hash, and only episodes with the same one are compared in pairs. What was drawn
    or set is better than what was simulated from it, which may differ from machine to machine.
    - ``instruction(slot)``, the prompt of a slot's episode where it is not always the task's; asked after ``reset``,
    for the record; None stands for the task's.
    - ``perturbation(slot)``, the numbers by which the slot's episode is perturbed, by name, for the record; asked after
    ``reset``.
    - ``outcome(slot)``, an ``EpisodeOutcome``, asked once when a slot's episode is over and no error; an exception that
    it raises is the episode's error.
    """

    suite: str
    tasks: tuple[Task, ...]
    num_slots: int
    control_hz: float

    def reset(self, slot: int, task: Task, seed: TrialSeed) -> None:
        """Start an episode of ``task`` in ``slot``."""
        ...

    def observe(self, slots: Sequence[int]) -> list[dict[str, Any]]:
        """Return the observations of these slots, with the observation keys of the suite's robot.

        Images are uint8 (height, width, 3); everything is a copy the caller may keep.
        """
        ...

    def step(self, actions: Mapping[int, np.ndarray]) -> dict[int, StepResult]:
        """Advance each named slot by one control step with its action, float32 (action_dim,)."""
        ...

    def frame(self, slot: int) -> np.ndarray:
        """Return an image of the slot for videos: uint8 (height, width, 3), all cameras side by side."""
        ...

    def describe(self) -> dict[str, Any]:
        """Return the simulation's settings for the run's manifest: versions, time steps, sizes."""
        ...

    def close(self) -> None:
        """Free the simulator's resources (GL contexts, threads)."""
        ...
