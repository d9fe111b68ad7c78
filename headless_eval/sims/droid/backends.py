"""Starts the suite ``droid`` in a simulator; nothing of one is imported before."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from headless_eval.contracts.simulator import Simulator
from headless_eval.errors import UserError
from headless_eval.sims import gl


def mujoco(**settings: Any) -> Simulator:
    """Return ``DroidMujoco`` with these settings.

    Raises:
        UserError: OpenGL for headless rendering is missing.
    """
    gl.load_mujoco()
    from headless_eval.sims.droid.mujoco.simulator import DroidMujoco

    return DroidMujoco(**settings)


def isaaclab(
    num_slots: int = 1,
    image_size: int = 224,
    frame_size: int = 224,
    physics: str | None = None,
    renderer: str | None = None,
    sim_device: str | None = None,
    isaac_assets: Path | None = None,
    tasks: Sequence[str] = (),
) -> Simulator:
    """Start Isaac Lab and return ``DroidIsaacLab`` with these settings; None is what suits the others.

    Args:
        num_slots: independent episodes at once.
        image_size: side of the policy's pictures in pixels.
        frame_size: side of each camera's picture in a video frame.
        physics: ``newton`` or ``physx``.
        renderer: ``newton`` or ``rtx``.
        sim_device: ``cpu`` or ``cuda``.
        isaac_assets: folder of the published scenes, to run one of them; its cameras have a size of their own.
        tasks: those of the run; the published scene is one of them.

    Raises:
        UserError: Isaac Lab, Isaac Sim, a GPU or a scene is missing, or the settings do not go together.
    """
    from headless_eval.sims import isaaclab_app

    if num_slots < 1:
        raise UserError(f"the number of slots must be at least 1, not {num_slots}")
    if isaac_assets is not None and len(tasks) != 1:
        raise UserError("--isaac-assets runs one scene at a time: add --tasks 1, 2 or 3")
    physics = physics or ("newton" if isaac_assets is None else "physx")
    renderer = renderer or ("newton" if isaac_assets is None else "rtx")
    device = sim_device or ("cuda" if renderer == "rtx" else "cpu")
    isaaclab_app.check(physics, renderer, device)
    from headless_eval.sims.droid.isaaclab.scene import droid_env

    config = droid_env(num_slots, physics, renderer, device, image_size, frame_size)
    app = isaaclab_app.IsaacApp(config, device)
    # What runs in Isaac Sim may only be imported once that has started.
    if isaac_assets is not None:
        from headless_eval.sims.droid.isaaclab.published import PublishedDroid, published_env
        from headless_eval.sims.droid.tasks import TASKS
        from headless_eval.sims.registry import find_tasks

        (task,) = find_tasks(TASKS, tasks)
        config = published_env(isaac_assets, task.id, num_slots, physics, renderer, device)
        return PublishedDroid(app, config, isaac_assets, task.id)
    from headless_eval.sims.droid.isaaclab.simulator import DroidIsaacLab

    return DroidIsaacLab(app, config)
