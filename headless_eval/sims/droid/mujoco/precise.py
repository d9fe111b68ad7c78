"""Simulator of the suite ``droid_precise`` in MuJoCo."""

from headless_eval.sims.droid.mujoco.simulator import DroidMujoco
from headless_eval.sims.droid.precise.scenes import SCENES, TASKS


class PreciseMujoco(DroidMujoco):
    """Suite ``droid_precise``: the robot, cameras, table and control rate of the suite ``droid``, and graded tasks."""

    suite = "droid_precise"
    scenes = SCENES
    tasks = TASKS
