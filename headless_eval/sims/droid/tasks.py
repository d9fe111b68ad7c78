"""The tasks of the suite ``droid``; imports no simulator."""

from headless_eval.contracts.simulator import Task
from headless_eval.sims.droid.scenes import MAX_STEPS, SCENES

TASKS = tuple(
    Task(scene.id, f"scene_{scene.id}", scene.instruction, scene.instruction, MAX_STEPS) for scene in SCENES
)
