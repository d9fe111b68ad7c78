"""Collects demonstrations of the scripted experts in SimplerEnv: carrot on plate, stack cube, pick coke can.

They start from placements of their own, none of those that evaluations start from.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from headless_eval.contracts.simulator import Task
from headless_eval.policies.open_pi_zero.adapters import resize
from headless_eval.sims.simpler.assets import chosen_assets
from headless_eval.sims.simpler.placement import COLOURINGS, Start, start_of
from headless_eval.sims.simpler.vulkan import load_sapien
from headless_eval.training.blocks import Block, label, write_block
from headless_eval.training.disturbance import Bursts, Disturbance
from headless_eval.training.sources import SOURCES

STRIDE = 2  # control steps between two stored observations
# Apart from every stream of a trial (seeding.py).
_SPAWN_KEY = 1002

_START_ELSEWHERE = 0.35
_DISTURBED = {
    "widowx": Bursts(axes=3, start=0.05, steps=(1, 4), std=0.015, jitter_std=0.003),
    "google_robot": Bursts(axes=3, start=0.04, steps=(1, 3), std=0.04, jitter_std=0.005),
}
_AWAY = {"widowx": 0.02, "google_robot": 0.05}  # metres a control step, before some demonstrations begin
_TABLE = ([-0.255, -0.095], [-0.065, 0.095])  # metres: where the WidowX's objects may lie
_APART = 0.085  # metres between them


_studios: dict[str, "Studio"] = {}


def collect_widowx(job: tuple[Block, Path]) -> int:
    """Collect a block of the WidowX's tasks into a folder; return its number of episodes."""
    return _collect("widowx", *job)


def collect_google_robot(job: tuple[Block, Path]) -> int:
    """Collect a block of Google's robot's tasks into a folder; return its number of episodes."""
    return _collect("google_robot", *job)


def _collect(robot: str, block: Block, folder: Path) -> int:
    if robot not in _studios:
        _studios[robot] = Studio(robot)
    task = SOURCES[robot].tasks[block.scene - 1]
    rows: list[dict[str, np.ndarray]] = []
    for episode in range(block.first, block.first + block.count):
        sequence = np.random.SeedSequence([block.seed, task.id, episode], spawn_key=(_SPAWN_KEY,))
        generator = np.random.default_rng(sequence)
        while not (more := _studios[robot].demonstrate(task, generator, block.horizon, block.image_size)):
            continue
        rows += [{**row, "scene": np.array(block.scene)} for row in more]
    return write_block(block, folder, rows)


class Studio:
    """Where a robot's demonstrations are recorded.

    Args:
        robot: ``widowx`` or ``google_robot``.

    Raises:
        UserError: SAPIEN, the assets or a Vulkan device are missing.
    """

    def __init__(self, robot: str) -> None:
        load_sapien()
        from headless_eval.sims.simpler.environment import keep_shaders

        self._robot = robot
        self._assets = chosen_assets(None)
        self._shaders = keep_shaders()

    def demonstrate(
        self, task: Task, generator: np.random.Generator, horizon: int, image_size: int
    ) -> list[dict[str, np.ndarray]]:
        """Return the observations of a demonstration with the expert's action chunks; none if it failed.

        The arm is pushed aside in bursts; what the expert does from there teaches recovery. A chunk's entry is
        valid while every executed action before it in the chunk was the expert's own.
        """
        from headless_eval.sims.simpler.environment import Environment, Scenery
        from headless_eval.sims.simpler.simulator import state_of
        from headless_eval.training.simpler_expert import Expert

        environment = Environment(self._assets, task.name, scattered(task.name, generator))
        if generator.random() < _START_ELSEWHERE:
            away = [*generator.normal(0.0, _AWAY[self._robot], 3), 0.0, 0.0, 0.0]
            for _ in range(int(generator.integers(1, 6))):
                environment.step(np.array([*away, 1.0 if self._robot == "widowx" else -1.0]))
        expert = Expert(environment, generator)
        disturbance = Disturbance(_DISTURBED[self._robot], generator)
        seen: dict[int, tuple[Scenery, np.ndarray]] = {}
        actions: list[np.ndarray] = []
        own: list[bool] = []
        phase, holds = int(generator.integers(STRIDE)), False
        while not expert.done:
            if len(actions) == task.max_steps:
                return []
            if len(actions) % STRIDE == phase:
                seen[len(actions)] = environment.scenery, state_of(environment)
            action = expert.action()
            executed, undisturbed = disturbance.apply(action)
            actions.append(action)
            own.append(undisturbed)
            holds = environment.step(executed)
        if not holds:
            return []
        # Drawn last and at one go: failures are not drawn at all, and processes that share a GPU wait less.
        rows = []
        for step, (scenery, state) in seen.items():
            environment.arrange(scenery)
            picture = resize(environment.picture(), image_size)
            chunk = label(actions[step : step + horizon], own[step : step + horizon], horizon)
            rows.append({"exterior": picture, "state": state, **chunk})
        return rows


def scattered(task: str, generator: np.random.Generator) -> Start:
    """Return a start like those of a task, its objects elsewhere.

    Raises:
        KeyError: demonstrations of this task are not known.
    """
    start = start_of(task, int(generator.integers(24)), int(generator.integers(2**32)))
    if task.startswith("widowx"):
        while True:
            places = generator.uniform(*_TABLE, (2, 2))
            if np.linalg.norm(places[0] - places[1]) > _APART:
                break
        turned = (start.objects[0], generator.normal(0.0, 0.15)), (start.objects[1], 0.0)
        objects = tuple(
            replace(placed, xy=(float(x), float(y)), rotation=_turned(placed.rotation, angle))
            for (placed, angle), (x, y) in zip(turned, places, strict=True)
        )
        return replace(start, objects=objects)
    (can,) = start.objects
    return replace(
        start,
        objects=(replace(can, rotation=_turned(can.rotation, generator.normal(0.0, 0.1))),),
        colouring=str(generator.choice(COLOURINGS)),
    )


def _turned(rotation: tuple[float, float, float, float], angle: float) -> tuple[float, float, float, float]:
    """Return a rotation followed by one about z."""
    w, x, y, z = rotation
    cosine, sine = float(np.cos(angle / 2)), float(np.sin(angle / 2))
    return (cosine * w - sine * z, cosine * x - sine * y, cosine * y + sine * x, cosine * z + sine * w)
