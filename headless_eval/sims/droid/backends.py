"""Starts the suite ``droid`` in a simulator; nothing of one is imported before."""

from pathlib import Path
from typing import Any

from headless_eval.errors import UserError
from headless_eval.sims import gl
from headless_eval.sims.simulator import Simulator


def mujoco(
    physics: str | None = None,
    renderer: str | None = None,
    sim_device: str | None = None,
    isaac_assets: Path | None = None,
    **settings: Any,
) -> Simulator:
    """Return ``DroidMujoco`` with these settings; the named ones are Isaac Lab's and must be None.

    Raises:
        UserError: OpenGL for headless rendering is missing, or a setting is Isaac Lab's.
    """
    ours = {"physics": physics, "renderer": renderer, "sim-device": sim_device, "isaac-assets": isaac_assets}
    for flag, value in ours.items():
        if value is not None:
            raise UserError(f"--{flag} is a setting of Isaac Lab: add --sim isaaclab")
    gl.load_mujoco()
    from headless_eval.sims.droid.mujoco_sim import DroidMujoco

    return DroidMujoco(**settings)


def isaaclab(
    num_slots: int = 1,
    image_size: int = 224,
    frame_size: int = 224,
    physics: str | None = None,
    renderer: str | None = None,
    sim_device: str | None = None,
    isaac_assets: Path | None = None,
) -> Simulator:
    """Start Isaac Lab and return ``DroidIsaacLab`` with these settings; None is what suits the others.

    Raises:
        UserError: Isaac Lab, Isaac Sim, a GPU or a scene is missing, or the settings do not go together.
    """
    from headless_eval.sims import isaaclab_app

    if num_slots < 1:
        raise UserError(f"the number of slots must be at least 1, not {num_slots}")
    physics = physics or ("newton" if isaac_assets is None else "physx")
    renderer = renderer or ("newton" if isaac_assets is None else "rtx")
    device = sim_device or ("cuda" if renderer == "rtx" else "cpu")
    isaaclab_app.check(physics, renderer, device)
    from headless_eval.sims.droid.isaaclab import droid_env

    config = droid_env(num_slots, physics, renderer, device, image_size, frame_size)
    app = isaaclab_app.IsaacApp(config, device)
    # What runs in Isaac Sim may only be imported once that has started.
    from headless_eval.sims.droid.isaaclab_sim import DroidIsaacLab

    return DroidIsaacLab(app, config)
