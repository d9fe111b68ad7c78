"""Start of the simulators of the suites ``droid`` and ``droid_precise``, each imported only when it is started."""

from collections.abc import Sequence
from typing import Any

from headless_eval.contracts.simulator import Simulator, Task
from headless_eval.errors import UserError
from headless_eval.sims import gl
from headless_eval.sims.droid.suites import DroidSettings


def mujoco(settings: DroidSettings, *, tasks: Sequence[Task], **options: Any) -> Simulator:
    """Start MuJoCo; return ``DroidMujoco`` with these options.

    Raises:
        UserError: OpenGL for headless rendering is missing.
    """
    gl.load_mujoco(settings.render)
    from headless_eval.sims.droid.mujoco.simulator import DroidMujoco

    return DroidMujoco(**options)


def precise_mujoco(settings: DroidSettings, *, tasks: Sequence[Task], **options: Any) -> Simulator:
    """Start MuJoCo; return ``PreciseMujoco`` with these options.

    Raises:
        UserError: OpenGL for headless rendering is missing.
    """
    gl.load_mujoco(settings.render)
    from headless_eval.sims.droid.mujoco.precise import PreciseMujoco

    return PreciseMujoco(**options)


def isaaclab(
    settings: DroidSettings,
    *,
    tasks: Sequence[Task],
    num_slots: int = 1,
    image_size: int = 224,
    frame_size: int = 224,
) -> Simulator:
    """Start Isaac Lab and return ``DroidIsaacLab``, or ``PublishedDroid`` where the settings name published scenes.

    Args:
        settings: physics engine, renderer, device and published scenes; None chooses a value that fits the others.
        tasks: the run's tasks; with published scenes exactly one.
        num_slots: number of independent episodes at once.
        image_size: side of the policy's images in pixels.
        frame_size: side of each camera's image in a video frame, in pixels.

    Raises:
        UserError: Isaac Lab, Isaac Sim, a GPU or a scene is missing, or the settings contradict each other.
    """
    from headless_eval.sims import isaaclab_app

    gl.choose_backend()  # Newton imports mujoco
    if num_slots < 1:
        raise UserError(f"the number of slots must be at least 1, not {num_slots}")
    assets = settings.isaac_assets
    if assets is not None and len(tasks) != 1:
        raise UserError("--isaac-assets runs one scene at a time: add --tasks 1, 2 or 3")
    physics = settings.physics or ("newton" if assets is None else "physx")
    renderer = settings.renderer or ("newton" if assets is None else "rtx")
    device = settings.sim_device or ("cuda" if renderer == "rtx" else "cpu")
    isaaclab_app.check(physics, renderer, device)
    from headless_eval.sims.droid.isaaclab.scene import droid_env

    config = droid_env(num_slots, physics, renderer, device, image_size, frame_size)
    app = isaaclab_app.IsaacApp(config, device)
    # Modules that use Isaac Sim may be imported only after its start.
    if assets is not None:
        from headless_eval.sims.droid.isaaclab.published import PublishedDroid, published_env

        task = tasks[0]
        config = published_env(assets, task.id, num_slots, physics, renderer, device)
        return PublishedDroid(app, config, assets, task.id)
    from headless_eval.sims.droid.isaaclab.simulator import DroidIsaacLab

    return DroidIsaacLab(app, config)
