"""Family ``place``: a cube is put on a mark; the level is how far off it may stand, in millimetres."""

from headless_eval.sims.droid.bodies import Body
from headless_eval.sims.droid.precise.family import CubeTracker, GoalScene, cube, flat
from headless_eval.sims.droid.tabletop import InitialState, Situation

_INNER, _LINE = 0.026, 0.004  # metres: half the inner side of the outline, half the width of its line
_COLOUR = (0.1, 0.18, 0.6)


class PlaceScene(GoalScene):
    """The cube on the mark, a square outline."""

    family = "place"
    says = "put the cube on the mark"
    levels = (40.0, 20.0, 10.0, 5.0, 2.5, 1.0)
    taught = (40.0, 20.0, 10.0, 5.0, 2.5)
    default = 5.0

    def _target(self) -> Body:
        return cube()

    def _goal(self) -> Body:
        middle = _INNER + _LINE
        outer = middle + _LINE
        shapes = (
            flat(outer, _LINE, _COLOUR, y=middle),
            flat(outer, _LINE, _COLOUR, y=-middle),
            flat(_LINE, outer, _COLOUR, x=middle),
            flat(_LINE, outer, _COLOUR, x=-middle),
        )
        return Body("mark", shapes, 0.0, footprint=1.42 * outer, fixed=True)

    def tracker(self, initial: InitialState) -> "PlaceTracker":
        """Return what follows an episode."""
        return PlaceTracker(self.target, self.level / 1000)


class PlaceTracker(CubeTracker):
    """The cube stands on the table, its middle within ``tolerance`` metres of the mark's."""

    def __init__(self, target: Body, tolerance: float):
        super().__init__(target)
        self._tolerance = tolerance

    def _is_in_place(self, now: Situation) -> bool:
        """Return whether the cube stands on the mark."""
        return self.off(now) <= self._tolerance and self.stands(now)
