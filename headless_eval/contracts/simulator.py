"""What a simulator is to the rest of the program."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from headless_eval.contracts.seeding import TrialSeed


@dataclass(frozen=True)
class Task:
    """One task of a suite; ``key`` is the name in file names and in ``results.json`` (``scene_1``)."""

    id: int
    key: str
    name: str
    instruction: str
    max_steps: int


@dataclass(frozen=True)
class StepResult:
    """What one control step brought.

    Args:
        success: whether the task's predicate holds.
        fault: the exception that broke the slot; None where none did.
        metrics: further outcomes by name, as they are after this step, such as ``{"distance": 0.12}``; each name is
            in ``Simulator.metrics``. The latest value of each becomes the episode's; what is not finite is left out.
    """

    success: bool
    fault: Exception | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)


class Simulator(Protocol):
    """A suite of tasks with ``num_slots`` independent episodes at once.

    A slot's episode depends on its task, its seed and its actions alone: neither the number of slots nor what
    happens in the others changes it.

    It may also have two attributes:

    - ``metrics``, the units of what ``StepResult.metrics`` holds, by name: ``{"distance": "m"}``, ``""`` for a number.
    - ``libraries``, the distributions whose versions its episodes can depend on: ``("mujoco",)``.
    """

    suite: str
    tasks: tuple[Task, ...]
    num_slots: int
    control_hz: float

    def reset(self, slot: int, task: Task, seed: TrialSeed) -> None:
        """Start an episode of ``task`` in ``slot``."""
        ...

    def observe(self, slots: Sequence[int]) -> list[dict[str, Any]]:
        """Return the observations of these slots, with the keys that the suite's policies know.

        Images are uint8 (height, width, 3); everything is a copy the caller may keep.
        """
        ...

    def step(self, actions: Mapping[int, np.ndarray]) -> dict[int, StepResult]:
        """Advance each named slot by one control step with its action, float32 (action_dim,)."""
        ...

    def frame(self, slot: int) -> np.ndarray:
        """Return a picture of the slot for a person: uint8 (height, width, 3), all cameras side by side."""
        ...

    def describe(self) -> dict[str, Any]:
        """Return what fixes the simulation, for the run's manifest: versions, time steps, sizes."""
        ...

    def close(self) -> None:
        """Free what the simulator holds (GL contexts, threads)."""
        ...
