"""The suites ``droid`` and ``droid_precise``, and their settings; imports no simulator."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from headless_eval.shared.flags import flag
from headless_eval.sims.gl import MujocoSettings
from headless_eval.sims.perturbation import WORLD
from headless_eval.sims.registry import SUITES, Suite

_ISAACLAB = "isaaclab"
# Environments share lamps, colours and bodies, and cameras are fixed when they are made.
_IN_ISAACLAB = ("light.brightness", "light.colour", "light.dim", "pose")


@dataclass(frozen=True, kw_only=True)
class DroidSettings(MujocoSettings):
    """Settings of the suites of the DROID robot."""

    sim: Annotated[str | None, flag("mujoco|isaaclab", "mujoco")] = None
    """Simulator."""

    physics: Annotated[
        str | None, flag("newton|physx", "newton; physx with --isaac-assets", simulator=_ISAACLAB)
    ] = None
    """Isaac Lab's physics engine; physx needs ovphysx, with rtx Isaac Sim."""

    renderer: Annotated[
        str | None, flag("newton|rtx", "newton; rtx with --isaac-assets", simulator=_ISAACLAB)
    ] = None
    """Isaac Lab's renderer; rtx needs Isaac Sim."""

    sim_device: Annotated[str | None, flag("cpu|cuda", "cpu; cuda with rtx", simulator=_ISAACLAB)] = None
    """Device that Isaac Lab simulates and renders on."""

    isaac_assets: Annotated[
        Path | None, flag("DIR", "the scenes of this package", simulator=_ISAACLAB, free=True)
    ] = None
    """Folder with the published DROID scenes (scene1.usd to scene3.usd)."""


SUITES.add(
    "droid",
    Suite(
        "droid",
        "three table-top scenes with a Franka Panda, 7 joint targets and a gripper at 15 Hz",
        tasks="headless_eval.sims.droid.tasks:TASKS",
        simulators={
            "mujoco": "headless_eval.sims.droid.backends:mujoco",
            _ISAACLAB: "headless_eval.sims.droid.backends:isaaclab",
        },
        settings=DroidSettings,
        perturbations={"mujoco": WORLD, _ISAACLAB: _IN_ISAACLAB},
        paraphrases="headless_eval.sims.droid.paraphrases:PARAPHRASES",
    ),
)

SUITES.add(
    "droid_precise",
    Suite(
        "droid_precise",
        "the robot and table of droid; tasks graded in millimetres and degrees",
        tasks="headless_eval.sims.droid.precise.scenes:TASKS",
        simulators={
            "mujoco": "headless_eval.sims.droid.backends:precise_mujoco",
            _ISAACLAB: "headless_eval.sims.droid.backends:precise_isaaclab",
        },
        settings=DroidSettings,
        perturbations={"mujoco": WORLD, _ISAACLAB: _IN_ISAACLAB},
        paraphrases="headless_eval.sims.droid.precise.language:PARAPHRASES",
    ),
)
