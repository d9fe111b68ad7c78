"""Perturbation of what a policy is told and shown, around any simulator: the axes ``language`` and ``noise``."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from headless_eval.contracts.robots import Robot
from headless_eval.contracts.seeding import TrialSeed
from headless_eval.contracts.simulator import Simulator, StepResult, Task
from headless_eval.sims.noise import Noise
from headless_eval.sims.perturbation import Paraphrases, axes_of


class PerturbedSimulator:
    """A simulator whose observations are perturbed; everything else of it is as it is.

    Args:
        simulator: whose observations are perturbed.
        robot: of its suite; names the pictures and the readings of joints.
        paraphrases: of the suite's instructions.
    """

    def __init__(self, simulator: Simulator, robot: Robot, paraphrases: Paraphrases) -> None:
        self._simulator, self._robot, self._paraphrases = simulator, robot, paraphrases
        self._noise: dict[int, Noise] = {}
        self._said: dict[int, str] = {}
        self._drawn: dict[int, dict[str, float]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._simulator, name)

    def reset(self, slot: int, task: Task, seed: TrialSeed) -> None:
        """Start an episode of ``task`` in ``slot``."""
        for kept in (self._noise, self._said, self._drawn):
            kept.pop(slot, None)  # type: ignore[attr-defined]
        self._simulator.reset(slot, task, seed)
        tell = getattr(self._simulator, "perturbation", None)
        drawn = dict(tell(slot)) if tell else {}
        for axis in axes_of(task.perturbation):
            sizes = axis.sizes(task.perturbation)
            if axis.name == "language":
                choices = self._paraphrases[self._plain(slot, task)][round(sizes["paraphrase"]) - 1]
                number = int(axis.generator(seed).integers(len(choices)))
                self._said[slot] = choices[number]
                drawn["language.number"] = number
            elif axis.name == "noise":
                self._noise[slot] = Noise(sizes, axis.generator(seed))
                drawn |= {f"noise.{name}": float(size) for name, size in sizes.items()}
        self._drawn[slot] = drawn

    def _plain(self, slot: int, task: Task) -> str:
        say = getattr(self._simulator, "instruction", None)
        return task.instruction if say is None else str(say(slot))

    def instruction(self, slot: int) -> str | None:
        """Return the prompt of the slot's episode; None if it is the task's."""
        if slot in self._said:
            return self._said[slot]
        say = getattr(self._simulator, "instruction", None)
        return None if say is None else str(say(slot))

    def perturbation(self, slot: int) -> dict[str, float]:
        """Return the numbers that the slot's episode is perturbed by."""
        return self._drawn[slot]

    def observe(self, slots: Sequence[int]) -> list[dict[str, Any]]:
        """Return the observations of these slots, perturbed."""
        seen = self._simulator.observe(slots)
        for slot, observation in zip(slots, seen, strict=True):
            if slot in self._said:
                observation["prompt"] = self._said[slot]
            if slot in self._noise:
                self._noise[slot].disturb(observation, self._robot)
        return seen

    def step(self, actions: Mapping[int, np.ndarray]) -> dict[int, StepResult]:
        """Advance each named slot by one control step."""
        for slot in actions:
            if slot in self._noise:
                self._noise[slot].advance()
        return self._simulator.step(actions)
