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
    assets = settings.isaac_assets
    if assets is not None and len(tasks) != 1:
        raise UserError("--isaac-assets runs one scene at a time: add --tasks 1, 2 or 3")
    chosen = _prepare(settings, num_slots)
    from headless_eval.sims.droid.isaaclab.scene import droid_env
    from headless_eval.sims.isaaclab_app import IsaacApp

    config = droid_env(num_slots, *chosen, image_size, frame_size)
    app = IsaacApp(config, chosen[-1])
    # Modules that use Isaac Sim may be imported only after its start.
    if assets is not None:
        from headless_eval.sims.droid.isaaclab.published import PublishedDroid, published_env

        task = tasks[0]
        config = published_env(assets, task.plain_id, num_slots, *chosen)
        return PublishedDroid(app, config, assets, task.plain_id)
    from headless_eval.sims.droid.isaaclab.simulator import DroidIsaacLab

    return DroidIsaacLab(app, config)


def precise_isaaclab(
    settings: DroidSettings,
    *,
    tasks: Sequence[Task],
    num_slots: int = 1,
    image_size: int = 224,
    frame_size: int = 224,
) -> Simulator:
    """Start Isaac Lab with the bodies of these tasks alone; return ``PreciseIsaacLab``.

    Args:
        settings: physics engine, renderer and device.
        tasks: the run's tasks.
        num_slots: number of independent episodes at once.
        image_size: side of the policy's images in pixels.
        frame_size: side of each camera's image in a video frame, in pixels.

    Raises:
        UserError: Isaac Lab, Isaac Sim or a GPU is missing, or the settings contradict each other.
    """
    if settings.isaac_assets is not None:
        raise UserError(
            "--isaac-assets has scenes of the suite droid alone: leave it out, or take --suite droid"
        )
    chosen = _prepare(settings, num_slots)
    from headless_eval.sims.droid.isaaclab.scene import droid_env
    from headless_eval.sims.droid.precise.scenes import SCENES
    from headless_eval.sims.isaaclab_app import IsaacApp

    wanted = {task.plain_id for task in tasks}
    scenes = [scene for scene in SCENES if scene.id in wanted]
    config = droid_env(num_slots, *chosen, image_size, frame_size, scenes)
    app = IsaacApp(config, chosen[-1])
    from headless_eval.sims.droid.isaaclab.precise import PreciseIsaacLab

    return PreciseIsaacLab(app, config)


def _prepare(settings: DroidSettings, num_slots: int) -> tuple[str, str, str]:
    """Make sure that Isaac Lab can run as the settings want it; return physics engine, renderer and device.

    Raises:
        UserError: something is missing, or the settings contradict each other.
    """
    from headless_eval.sims import isaaclab_app

    gl.choose_backend()  # Newton imports mujoco
    if num_slots < 1:
        raise UserError(f"the number of slots must be at least 1, not {num_slots}")
    published = settings.isaac_assets is not None
    physics = settings.physics or ("physx" if published else "newton")
    renderer = settings.renderer or ("rtx" if published else "newton")
    device = settings.sim_device or ("cuda" if renderer == "rtx" else "cpu")
    isaaclab_app.check(physics, renderer, device)
    return physics, renderer, device
