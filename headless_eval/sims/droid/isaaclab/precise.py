"""The suite ``droid_precise`` in Isaac Lab."""

from headless_eval.sims.droid.isaaclab.simulator import DroidIsaacLab
from headless_eval.sims.droid.precise.scenes import SCENES, TASKS


class PreciseIsaacLab(DroidIsaacLab):
    """Suite ``droid_precise``: the robot, cameras, table and control rate of the suite ``droid``, and graded tasks."""

    suite = "droid_precise"
    scenes = SCENES
    tasks = TASKS
