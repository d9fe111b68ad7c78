"""The SimplerEnv suites as a simulator, every slot a scene of its own in this process."""

from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

import numpy as np

from headless_eval.contracts.seeding import TrialSeed
from headless_eval.contracts.simulator import StepResult, Task
from headless_eval.errors import UserError
from headless_eval.sims.simpler.assets import Assets
from headless_eval.sims.simpler.environment import Environment, check_assets, keep_shaders
from headless_eval.sims.simpler.placement import start_of
from headless_eval.sims.simpler.robots import GOOGLE_ROBOT
from headless_eval.sims.simpler.tasks import CONTROL_HZ, TASKS
from headless_eval.sims.simpler.vulkan import device_name

SuccessRule = Literal["final", "any"]
_VERSIONS = ("sapien", "ruckig")


class Simpler:
    """One of the SimplerEnv suites.

    Args:
        assets: where the data files are.
        suite: the suite's name.
        num_slots: independent episodes at once.
        tasks: those of the run, whose files are looked for at once; all by default.
        success: when an episode counts as one: ``final``, the predicate holds after the last step, as open-pi-zero
            counts, so that every episode runs to its limit; or ``any``, it holds after some step, which ends the
            episode, as SimplerEnv's own scripts count.

    Raises:
        UserError: the number of slots is less than 1, or a file of the assets is missing.
    """

    def __init__(
        self,
        assets: Assets,
        suite: str,
        *,
        num_slots: int = 1,
        tasks: Sequence[Task] = (),
        success: SuccessRule = "final",
    ) -> None:
        if num_slots < 1:
            raise UserError(f"the number of slots must be at least 1, not {num_slots}")
        for task in tasks or TASKS[suite]:
            check_assets(assets, task.name)
        self.suite = suite
        self.tasks = TASKS[suite]
        self.num_slots = num_slots
        self.control_hz = CONTROL_HZ[suite]
        self._assets = assets
        self._success = success
        self._tasks: dict[int, Task] = {}
        self._slots: dict[int, Environment] = {}
        self._pictures: dict[int, np.ndarray] = {}
        self._shaders = keep_shaders()

    def reset(self, slot: int, task: Task, seed: TrialSeed) -> None:
        """Start an episode of ``task`` in ``slot``, in a new scene.

        Raises:
            UserError: the task's assets are missing.
        """
        if not 0 <= slot < self.num_slots:
            raise ValueError(f"slot {slot} is not among {self.num_slots}")
        self._pictures.pop(slot, None)
        self._slots.pop(slot, None)
        start = start_of(task.name, seed.episode, seed.environment_seed())
        self._slots[slot] = Environment(self._assets, task.name, start)
        self._tasks[slot] = task

    def initial_state(self, slot: int) -> np.ndarray:
        """Return what the slot's episode starts from: objects, robot, photograph, before anything falls."""
        return self._slots[slot].start.numbers

    def observe(self, slots: Sequence[int]) -> list[dict[str, Any]]:
        """Return the observations of these slots, with the keys of the suite's robot.

        A picture has the camera's own size, 640 x 480 or 640 x 512: policies scale it in ways of their own.
        """
        return [self._observe(slot) for slot in slots]

    def step(self, actions: Mapping[int, np.ndarray]) -> dict[int, StepResult]:
        """Advance the named slots by one control step: 1/5 s with the WidowX, 1/3 s with Google's robot."""
        return {slot: self._step_one(slot, action) for slot, action in actions.items()}

    def frame(self, slot: int) -> np.ndarray:
        """Return the picture that the policy sees, uint8 (height, width, 3)."""
        return self._draw(slot)

    def describe(self) -> dict[str, Any]:
        """Return versions, protocol and the hash of the assets for the manifest."""
        return {
            "simulator": "simpler",
            **{name: _version(name) for name in _VERSIONS},
            "assets_sha256": self._assets.sha256,
            "assets_standins": list(self._assets.standins),
            "control_hz": self.control_hz,
            "success": self._success,
            "vulkan_device": device_name(),
        }

    def close(self) -> None:
        """Free the scenes."""
        self._pictures.clear()
        self._slots.clear()

    def environment(self, slot: int) -> Environment:
        """Return a slot's episode, for those who look behind the observations."""
        return self._slots[slot]

    def _observe(self, slot: int) -> dict[str, Any]:
        environment = self._slots[slot]
        return {
            "observation/image": self._draw(slot).copy(),
            "observation/state": state_of(environment),
            "prompt": environment.instruction,
        }

    def _step_one(self, slot: int, action: np.ndarray) -> StepResult:
        self._pictures.pop(slot, None)
        environment = self._slots[slot]
        try:
            holds = environment.step(action)
        except Exception as error:
            return StepResult(False, error)
        last = environment.steps >= self._tasks[slot].max_steps
        return StepResult(holds and (last or self._success == "any"))

    def _draw(self, slot: int) -> np.ndarray:
        """Return a slot's picture; drawn once a step at most."""
        if slot not in self._pictures:
            self._pictures[slot] = self._slots[slot].picture()
        return self._pictures[slot]


def state_of(environment: Environment) -> np.ndarray:
    """Return the robot's state as its contract orders it, float32 (8,)."""
    position, rotation, closed = environment.pose
    if environment.kind.robot is GOOGLE_ROBOT:
        values = [*position, *np.roll(rotation, -1), closed]
    else:
        values = [*position, *rotation, 1.0 - closed]
    return np.array(values, np.float32)


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "unknown"
