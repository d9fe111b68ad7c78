"""Family ``insert``: a peg is put into a hole; the level is how much wider the hole is, in millimetres."""

from collections.abc import Mapping

from headless_eval.sims.droid.bodies import Body, Shape, cylinder_volume
from headless_eval.sims.droid.precise.family import GoalScene, GradedTracker
from headless_eval.sims.droid.tabletop import InitialState, Situation

PEG_DIAMETER, PEG_HEIGHT = 0.024, 0.09  # metres
BOARD_HEIGHT = 0.036  # metres
DEPTH = 0.025
"""How far below the rim the peg's lower end has to be, in metres."""

_HALF_BOARD = 0.05  # metres, half the side
_FRICTION = 0.3


class InsertScene(GoalScene):
    """The peg in the square hole of a board that stands fast; the table is the hole's floor."""

    family = "insert"
    says = "insert the peg into the hole"
    levels = (8.0, 4.0, 2.0, 1.0, 0.5)
    taught = (8.0, 4.0, 2.0, 1.0, 0.5)
    default = 1.0

    def _target(self) -> Body:
        radius, half = PEG_DIAMETER / 2, PEG_HEIGHT / 2
        shapes = (
            Shape("cylinder", (radius, half), (0.92, 0.48, 0.05), (0, 0, half)),
            Shape("cylinder", (radius * 0.9, 0.0005), (1.0, 0.85, 0.5), (0, 0, 2 * half), collides=False),
        )
        return Body(
            "peg",
            shapes,
            mass=0.06,
            footprint=radius * 1.2,
            friction=_FRICTION,
            volume=cylinder_volume(radius, half, half),
            grasp_width=PEG_DIAMETER,
            grasp_height=0.07,
        )

    def _goal(self) -> Body:
        hole = (PEG_DIAMETER + self.level / 1000) / 2
        wall, middle, z = (_HALF_BOARD - hole) / 2, (_HALF_BOARD + hole) / 2, BOARD_HEIGHT / 2
        dark, light = (0.12, 0.2, 0.42), (0.16, 0.26, 0.52)
        shapes = (
            Shape("box", (wall, _HALF_BOARD, z), dark, (middle, 0, z)),
            Shape("box", (wall, _HALF_BOARD, z), dark, (-middle, 0, z)),
            Shape("box", (hole, wall, z), light, (0, middle, z)),
            Shape("box", (hole, wall, z), light, (0, -middle, z)),
        )
        return Body("board", shapes, 0.0, footprint=1.42 * _HALF_BOARD, friction=_FRICTION, fixed=True)

    def tracker(self, initial: InitialState) -> "InsertTracker":
        """Return what follows an episode."""
        return InsertTracker(self.target)


class InsertTracker(GradedTracker):
    """The peg stands in the hole: upright, its lower end at least 25 mm below the rim."""

    def is_there(self, now: Situation) -> bool:
        """Return whether the peg is in the hole."""
        return self._depth(now) >= DEPTH and self.off(now) < _HALF_BOARD / 2 and self.is_upright(now)

    def _depth(self, now: Situation) -> float:
        """Return how far the lower end is below the rim while it is over the board, in metres; at least 0."""
        return max(0.0, BOARD_HEIGHT - self.height(now)) if self.off(now) < _HALF_BOARD else 0.0

    def _measure(self, now: Situation) -> Mapping[str, float]:
        return {**super()._measure(now), "depth_mm": 1000 * self._depth(now)}
