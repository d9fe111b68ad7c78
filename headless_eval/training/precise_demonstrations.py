"""Demonstrations in the suite ``droid_precise``, by scripted experts, each scene perturbed."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from headless_eval.sims.droid.mujoco.simulator import SceneModel, Slot
from headless_eval.sims.droid.perturbation import stage
from headless_eval.sims.droid.precise.language import COLOURS, WORDINGS
from headless_eval.sims.droid.precise.press import PressScene
from headless_eval.sims.droid.precise.scenes import FAMILIES, SCENES
from headless_eval.sims.droid.tabletop import InitialState, Scene
from headless_eval.sims.perturbation import WORLD, Perturbation
from headless_eval.training.blocks import Block, write_block
from headless_eval.training.disturbance import Bursts, Disturbance
from headless_eval.training.expert import Expert
from headless_eval.training.expert_arm import draw_start
from headless_eval.training.expert_press import PressExpert
from headless_eval.training.recording import STRIDE, SlotExpert, Take, record

MAX_STEPS = 300
PERTURBED_TO = 2
"""The highest level of each axis of perturbation; each episode draws its own of each."""

# Distinct from every stream of a trial (seeding.py), so that no evaluation repeats a training episode.
_SPAWN_KEY = 1003

_LOWEST_START = 0.18  # metres, of the pads' midpoint
_TIMES = {"press": 3}
"""How many demonstrations of a family count as one, where they are short."""

# Radians. What is done with care is disturbed less: a burst of the others would spill the tray or jam the peg.
_DISTURBED = Bursts(axes=7, start=0.03, steps=(2, 8), std=0.05, jitter_std=0.003, drops=0.1)
_FINELY = Bursts(axes=7, start=0.025, steps=(2, 6), std=0.035, jitter_std=0.001)
_GENTLY = Bursts(axes=7, start=0.03, steps=(2, 6), std=0.015, jitter_std=0.0005)
_BURSTS = {"insert": _FINELY, "thread": _FINELY, "carry": _GENTLY}

_families = [
    [scene for scene in SCENES if isinstance(scene, family) and scene.level in family.taught]
    for family in FAMILIES
]

_plain: dict[int, SceneModel] = {}


def collect_block(job: tuple[Block, Path]) -> int:
    """Collect a block into a folder; return its number of episodes."""
    block, folder = job
    family = _families[block.scene - 1]
    rows: list[dict[str, np.ndarray]] = []
    for episode in range(block.first, block.first + block.count):
        sequence = np.random.SeedSequence([block.seed, block.scene, episode], spawn_key=(_SPAWN_KEY,))
        generator = np.random.default_rng(sequence)
        for _ in range(_TIMES.get(family_of(family[0]), 1)):
            rows += demonstrate(family, generator, block.horizon, block.image_size)
    return write_block(block, folder, rows)


def demonstrate(
    family: Sequence[Scene], generator: np.random.Generator, horizon: int, image_size: int
) -> list[dict[str, np.ndarray]]:
    """Return the observations of one successful demonstration with the expert's action chunks.

    Each attempt draws one of the family's scenes, how it is perturbed, and where it starts. The arm is disturbed in
    bursts, so that the expert's next actions show how to recover.
    """
    while True:
        scene = family[int(generator.integers(len(family)))]
        rows = _attempt(scene, generator, horizon, image_size)
        if rows is not None:
            return rows


def _attempt(
    scene: Scene, generator: np.random.Generator, horizon: int, image_size: int
) -> list[dict[str, np.ndarray]] | None:
    streams = {number: stream for number, stream in enumerate(generator.spawn(len(WORLD)))}
    staging = stage(scene, _perturbation(generator), generator, streams.__getitem__)
    model = _plain_model(scene).staged(staging)
    slot = Slot(model)
    slot.reset(draw_start(model, staging.initial, generator, _LOWEST_START))
    expert = expert_of(slot, generator)
    disturbance = Disturbance(_BURSTS.get(family_of(scene), _DISTURBED), generator)
    take = Take(number_of(scene, staging.initial), horizon, image_size, MAX_STEPS)
    return record(slot, expert, disturbance, int(generator.integers(STRIDE)), take)


def _plain_model(scene: Scene) -> SceneModel:
    if scene.id not in _plain:
        made = SceneModel(scene)
        if _plain:  # one GL context a process, not one a task
            made.share_renderers(next(iter(_plain.values())))
        _plain[scene.id] = made
    return _plain[scene.id]


def expert_of(slot: Slot, generator: np.random.Generator) -> SlotExpert:
    """Return the expert for a slot's scene.

    Raises:
        ValueError: the slot has no episode yet.
        TypeError: no expert knows such scenes.
    """
    one = PressExpert if isinstance(slot.scene_model.scene, PressScene) else Expert
    return one(slot, generator)


def number_of(scene: Scene, initial: InitialState) -> int:
    """Return the number of what is asked for among ``WORDINGS``, from 1 on."""
    family = family_of(scene)
    name = family if initial.choice is None else f"{family} {COLOURS[initial.choice]}"
    return 1 + list(WORDINGS).index(name)


def family_of(scene: Scene) -> str:
    """Return the family of a graded scene."""
    assert scene.difficulty is not None
    return scene.difficulty.family


def _perturbation(generator: np.random.Generator) -> Perturbation:
    levels = generator.integers(PERTURBED_TO + 1, size=len(WORLD))
    return tuple((axis, int(level)) for axis, level in zip(WORLD, levels, strict=True) if level)
