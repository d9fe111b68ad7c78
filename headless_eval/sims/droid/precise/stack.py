"""Family ``stack``: a cube is set on a base; the level is half the base's width in millimetres.

A cube whose middle is farther off than that topples.
"""

from collections.abc import Mapping

from headless_eval.sims.droid.bodies import Body, Shape
from headless_eval.sims.droid.precise.family import CubeTracker, GoalScene, cube
from headless_eval.sims.droid.tabletop import InitialState, Situation

BASE_HEIGHT = 0.05  # metres
_OVER_BASE = (
    0.06  # metres between the middles of cube and base; farther off the cube stands on something else
)


class StackScene(GoalScene):
    """The cube on the base, a block that stands fast."""

    family = "stack"
    says = "stack the cube on the green block"
    levels = (30.0, 20.0, 14.0, 10.0, 7.0, 4.0, 3.0)
    taught = (30.0, 20.0, 14.0, 10.0, 7.0)
    default = 4.0

    def _target(self) -> Body:
        return cube()

    def _goal(self) -> Body:
        half = self.level / 1000
        block = Shape("box", (half, half, BASE_HEIGHT / 2), (0.1, 0.45, 0.2), (0, 0, BASE_HEIGHT / 2))
        return Body("base", (block,), 0.0, footprint=1.42 * half, fixed=True)

    def tracker(self, initial: InitialState) -> "StackTracker":
        """Return what follows an episode."""
        return StackTracker(self.target, BASE_HEIGHT)


class StackTracker(CubeTracker):
    """The cube stands upright on the base's top."""

    def _is_in_place(self, now: Situation) -> bool:
        """Return whether the cube stands on the base."""
        return self.off(now) < _OVER_BASE and self.stands(now, BASE_HEIGHT)

    def _measure(self, now: Situation) -> Mapping[str, float]:
        return {**super()._measure(now), "height_mm": 1000 * self.height(now)}
