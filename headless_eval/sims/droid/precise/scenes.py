"""The scenes of the suite ``droid_precise``, and its tasks; imports no simulator."""

from headless_eval.sims.droid.precise.carry import CarryScene
from headless_eval.sims.droid.precise.family import GradedScene
from headless_eval.sims.droid.precise.insert import InsertScene
from headless_eval.sims.droid.precise.place import PlaceScene
from headless_eval.sims.droid.precise.press import PressScene
from headless_eval.sims.droid.precise.stack import StackScene
from headless_eval.sims.droid.precise.thread import ThreadScene
from headless_eval.sims.droid.tasks import task_of

FAMILIES: tuple[type[GradedScene], ...] = (
    PlaceScene,
    StackScene,
    InsertScene,
    ThreadScene,
    CarryScene,
    PressScene,
)
"""In the order of the tasks' numbers: 11 and on, 21 and on. A new family goes to the end, and so does a new level."""

SCENES: tuple[GradedScene, ...] = tuple(
    family(10 * tens + index, family.says, level)
    for tens, family in enumerate(FAMILIES, 1)
    for index, level in enumerate(family.levels, 1)
)

TASKS = tuple(map(task_of, SCENES))
"""The tasks of the suite ``droid_precise``."""
