"""The tasks of scenes; imports no simulator."""

from headless_eval.contracts.simulator import Task
from headless_eval.sims.droid.scenes import SCENES
from headless_eval.sims.droid.tabletop import MAX_STEPS, Scene


def task_of(scene: Scene) -> Task:
    """Return a scene's task."""
    return Task(scene.id, scene.key, scene.name, scene.instruction, MAX_STEPS, scene.difficulty)


TASKS = tuple(map(task_of, SCENES))
"""The tasks of the suite ``droid``."""
