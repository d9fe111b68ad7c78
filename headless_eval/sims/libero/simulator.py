"""The LIBERO suites as a simulator, every slot in this process."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import mujoco
import numpy as np

from headless_eval.contracts.seeding import TrialSeed
from headless_eval.contracts.simulator import StepResult, Task
from headless_eval.errors import UserError
from headless_eval.sims import gl
from headless_eval.sims.libero import images
from headless_eval.sims.libero.environment import SETTLING_ACTION, SETTLING_STEPS, Environment
from headless_eval.sims.libero.package import Package, fingerprint
from headless_eval.sims.libero.tasks import CONTROL_HZ, TASKS


class Libero:
    """Simulator of one LIBERO suite.

    Args:
        package: the imported LIBERO package.
        suite: the suite's name.
        num_slots: number of independent episodes at once.
        image_size: side of the policy's images in pixels.

    Raises:
        UserError: the number of slots is less than 1.
    """

    control_hz = CONTROL_HZ
    libraries = ("hf-libero", "robosuite", "bddl", "mujoco", "numba")

    def __init__(self, package: Package, suite: str, *, num_slots: int = 1, image_size: int = 224):
        if num_slots < 1:
            raise UserError(f"the number of slots must be at least 1, not {num_slots}")
        self.suite = suite
        self.tasks = TASKS[suite]
        self.num_slots = num_slots
        self._package = package
        self._image_size = image_size
        self._assets_sha256 = fingerprint(package.assets)
        self._gl_renderer: str | None = None
        self._slots: dict[int, Environment] = {}
        # An environment takes a second to build and some hundred MB: idle ones are kept and reused.
        self._idle: list[Environment] = []
        self._cameras: dict[int, images.Cameras] = {}
        self._pictures: dict[int, list[np.ndarray]] = {}
        # Physics releases the GIL, so slots step in parallel.
        self._pool = ThreadPoolExecutor(max_workers=min(num_slots, 8), thread_name_prefix="physics")

    def reset(self, slot: int, task: Task, seed: TrialSeed) -> None:
        """Start an episode of ``task`` in ``slot``.

        Raises:
            UserError: the task's files or assets are missing.
        """
        if not 0 <= slot < self.num_slots:
            raise ValueError(f"slot {slot} is not among {self.num_slots}")
        if slot in self._slots:
            self._idle.append(self._slots.pop(slot))
        self._pictures.pop(slot, None)
        environment = self._take(task)
        self._slots[slot] = environment
        environment.reset(seed)

    def initial_state(self, slot: int) -> np.ndarray | None:
        """Return the state that the slot's episode was set to, before the settling steps."""
        return self._slots[slot].initial

    def observe(self, slots: Sequence[int]) -> list[dict[str, Any]]:
        """Return the observations of these slots, with openpi's LIBERO keys."""
        return [
            images.observe(
                self._draw(slot),
                self._slots[slot].state,
                self._slots[slot].task.instruction,
                self._image_size,
            )
            for slot in slots
        ]

    def step(self, actions: Mapping[int, np.ndarray]) -> dict[int, StepResult]:
        """Advance the named slots by one control step, 1/20 s."""
        for slot in actions:
            self._pictures.pop(slot, None)
        side_by_side = self._pool.map if len(actions) > 1 else map
        results = side_by_side(lambda item: self._step_one(*item), actions.items())
        return dict(zip(actions, results, strict=True))

    def frame(self, slot: int) -> np.ndarray:
        """Return both cameras side by side, uint8 (256, 512, 3)."""
        return np.concatenate(self._draw(slot), axis=1)

    def describe(self) -> dict[str, Any]:
        """Return versions, protocol and the hash of the assets for the manifest."""
        return {
            "simulator": "libero",
            **{name: _version(name) for name in self.libraries},
            "assets_sha256": self._assets_sha256,
            "control_hz": CONTROL_HZ,
            "settling_steps": SETTLING_STEPS,
            "settling_action": list(SETTLING_ACTION),
            "cameras": list(images.CAMERAS),
            "render_size": images.SIDE,
            "image_size": self._image_size,
            "gl_renderer": self._gl_renderer,
            **gl.described(),
        }

    def close(self) -> None:
        """Free environments, GL contexts and threads."""
        self._pool.shutdown()
        for cameras in self._cameras.values():
            cameras.close()
        for environment in self._environments():
            environment.close()
        self._cameras.clear()
        self._slots.clear()
        self._idle.clear()

    def _environments(self) -> Iterator[Environment]:
        yield from self._slots.values()
        yield from self._idle

    def _take(self, task: Task) -> Environment:
        """Return an environment of the task: an idle environment if one exists, else a new one."""
        found = next((one for one in self._idle if one.task.id == task.id), None)
        if found is not None:
            self._idle.remove(found)
            return found
        while len(self._idle) > self.num_slots:
            self._discard(self._idle.pop(0))
        return Environment(self._package, self.suite, task)

    def _discard(self, environment: Environment) -> None:
        environment.close()
        number = environment.task.id
        if number in self._cameras and all(one.task.id != number for one in self._environments()):
            self._cameras.pop(number).close()

    def _draw(self, slot: int) -> list[np.ndarray]:
        """Return the images of a slot's present observation; they are rendered at most once per step."""
        if slot not in self._pictures:
            environment = self._slots[slot]
            number = environment.task.id
            if number not in self._cameras:
                self._cameras[number] = images.Cameras(environment.model)
                self._gl_renderer = self._gl_renderer or self._cameras[number].renderer_name()
            self._pictures[slot] = self._cameras[number].draw(environment.model, environment.seen)
        return self._pictures[slot]

    def _step_one(self, slot: int, action: np.ndarray) -> StepResult:
        try:
            return StepResult(self._slots[slot].step(action))
        except Exception as error:
            return StepResult(False, error)


def _version(distribution: str) -> str:
    if distribution == "mujoco":
        return mujoco.__version__
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "unknown"
