"""Demonstrations in the DROID scenes, by the scripted expert."""

from pathlib import Path

import numpy as np

from headless_eval.sims.droid.mujoco.simulator import SceneModel, Slot
from headless_eval.sims.droid.scenes import SCENES
from headless_eval.training.blocks import Block, write_block
from headless_eval.training.disturbance import Bursts, Disturbance
from headless_eval.training.expert import Expert
from headless_eval.training.expert_arm import draw_start
from headless_eval.training.recording import STRIDE, Take, record

MAX_STEPS = 260
# Distinct from every stream of a trial (seeding.py), so that no evaluation repeats a training episode.
_SPAWN_KEY = 1000

_DISTURBED = Bursts(axes=7, start=0.035, steps=(2, 8), std=0.07, jitter_std=0.006, drops=0.2)  # radians
_LOWEST_START = 0.13  # metres, of the pads' midpoint

_models: dict[int, SceneModel] = {}


def collect_block(job: tuple[Block, Path]) -> int:
    """Collect a block into a folder; return its number of episodes."""
    block, folder = job
    scene = SCENES[block.scene - 1]
    if scene.id not in _models:
        _models[scene.id] = SceneModel(scene)
    rows: list[dict[str, np.ndarray]] = []
    for episode in range(block.first, block.first + block.count):
        sequence = np.random.SeedSequence([block.seed, scene.id, episode], spawn_key=(_SPAWN_KEY,))
        rows += demonstrate(
            _models[scene.id], np.random.default_rng(sequence), block.horizon, block.image_size
        )
    return write_block(block, folder, rows)


def demonstrate(
    scene_model: SceneModel, generator: np.random.Generator, horizon: int, image_size: int
) -> list[dict[str, np.ndarray]]:
    """Return the observations of one successful demonstration with the expert's action chunks.

    The arm is disturbed in bursts, so that the expert's next actions show how to recover.
    """
    while True:
        rows = _attempt(scene_model, generator, horizon, image_size)
        if rows is not None:
            return rows


def _attempt(
    scene_model: SceneModel, generator: np.random.Generator, horizon: int, image_size: int
) -> list[dict[str, np.ndarray]] | None:
    slot = Slot(scene_model)
    slot.reset(draw_start(scene_model, scene_model.scene.draw(generator), generator, _LOWEST_START))
    expert = Expert(slot, generator)
    disturbance = Disturbance(_DISTURBED, generator)
    take = Take(scene_model.scene.id, horizon, image_size, MAX_STEPS)
    return record(slot, expert, disturbance, int(generator.integers(STRIDE)), take)
