"""Starts the suite ``droid`` in a simulator; nothing of one is imported before."""

from typing import Any

from headless_eval.sims import gl
from headless_eval.sims.simulator import Simulator


def mujoco(**settings: Any) -> Simulator:
    """Return ``DroidMujoco`` with these settings.

    Raises:
        UserError: OpenGL for headless rendering is missing.
    """
    gl.load_mujoco()
    from headless_eval.sims.droid.mujoco_sim import DroidMujoco

    return DroidMujoco(**settings)
