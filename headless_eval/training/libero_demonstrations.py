"""Demonstrations in one task of ``libero_object``, by the scripted expert.

They start from placements drawn for training, never from the initial states of evaluations.
"""

from pathlib import Path

import mujoco
import numpy as np

from headless_eval.sims.libero import package
from headless_eval.sims.libero.backends import chosen_assets
from headless_eval.sims.libero.environment import Environment
from headless_eval.sims.libero.images import Cameras, scale
from headless_eval.training.blocks import Block, label, write_block
from headless_eval.training.disturbance import Bursts, Disturbance
from headless_eval.training.libero_expert import Expert
from headless_eval.training.sources import SOURCES

(TASK,) = SOURCES["libero"].tasks

STRIDE = 4  # control steps between two stored observations
MAX_STEPS = 260
AFTER_SUCCESS = 4  # control steps recorded beyond success
# Distinct from every stream of a trial (seeding.py).
_SPAWN_KEY = 1001

_SCATTER = 0.01  # metres, added to the placements that the LIBERO package draws
_START_ELSEWHERE = 0.35
_DISTURBED = Bursts(axes=3, start=0.04, steps=(2, 7), std=0.6, jitter_std=0.08)


_studio: list["Studio"] = []


def collect_block(job: tuple[Block, Path]) -> int:
    """Collect a block into a folder; return its number of episodes."""
    block, folder = job
    if not _studio:
        _studio.append(Studio())
    rows: list[dict[str, np.ndarray]] = []
    for episode in range(block.first, block.first + block.count):
        sequence = np.random.SeedSequence([block.seed, TASK.id, episode], spawn_key=(_SPAWN_KEY,))
        generator = np.random.default_rng(sequence)
        while not (more := _studio[0].demonstrate(generator, block.horizon, block.image_size)):
            continue
        rows += more
    return write_block(block, folder, rows)


class Studio:
    """The task's environment and its cameras."""

    def __init__(self) -> None:
        self.environment = Environment(
            package.load(chosen_assets(None)), SOURCES["libero"].trained_on.suite, TASK
        )
        self._cameras = Cameras(self.environment.model)

    def demonstrate(
        self, generator: np.random.Generator, horizon: int, image_size: int
    ) -> list[dict[str, np.ndarray]]:
        """Return the observations of a demonstration with the expert's action chunks; empty if the expert failed.

        The arm is disturbed in bursts, so that the expert's next actions show how to recover. An entry of a chunk is
        valid if all executed actions before it in the chunk were the expert's own.
        """
        environment = self.environment
        environment.begin(self._scattered(environment.draw(int(generator.integers(2**32))), generator))
        if generator.random() < _START_ELSEWHERE:
            away = [*generator.uniform([-0.6, -0.6, -0.4], 0.6), 0.0, 0.0, 0.0, -1.0]
            for _ in range(int(generator.integers(5, 16))):
                environment.step(np.array(away))
        expert, disturbance = Expert(environment, generator), Disturbance(_DISTURBED, generator)
        observed: dict[int, tuple[mujoco.MjData, np.ndarray]] = {}
        actions: list[np.ndarray] = []
        own: list[bool] = []
        phase, left, done = int(generator.integers(STRIDE)), MAX_STEPS, False
        while left > 0:
            if len(actions) % STRIDE == phase:
                copy = mujoco.MjData(environment.model)
                mujoco.mj_copyData(copy, environment.model, environment.seen)
                observed[len(actions)] = copy, environment.state
            action = expert.action()
            executed, undisturbed = disturbance.apply(action)
            actions.append(action)
            own.append(undisturbed)
            left -= 1
            if environment.step(executed) and not done:
                done, left = True, AFTER_SUCCESS
        if not done:
            return []
        return [
            {
                **self._pictures(data, image_size),
                "state": state.astype(np.float32),
                **label(actions[step : step + horizon], own[step : step + horizon], horizon),
                "scene": np.array(1),
            }
            for step, (data, state) in observed.items()
        ]

    def _scattered(self, state: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Return a state whose target and basket are moved a little beyond the LIBERO package's placements."""
        model = self.environment.model
        for name in (self.environment.target, "basket_1"):
            joint = model.body_jntadr[self.environment.body(name)]
            first = 1 + model.jnt_qposadr[joint]
            state[first : first + 2] += generator.uniform(-_SCATTER, _SCATTER, 2)
        return state

    def _pictures(self, data: mujoco.MjData, image_size: int) -> dict[str, np.ndarray]:
        pictures = self._cameras.draw(self.environment.model, data)
        return dict(zip(("exterior", "wrist"), (scale(one, image_size) for one in pictures), strict=True))
