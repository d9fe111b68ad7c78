"""Family ``thread``: a ring is put over a post; the level is how much wider the ring is inside, in millimetres."""

import math

from headless_eval.sims.droid.bodies import Body, Shape
from headless_eval.sims.droid.precise.family import GoalScene, GradedTracker
from headless_eval.sims.droid.tabletop import InitialState, Situation

INNER_DIAMETER = 0.05  # metres, of the ring
_TUBE = 0.005  # metres, radius of the ring's tube
_SIDES = 12
_BAR_HEIGHT = 0.075  # metres, of the handle's middle above the table
POST_HEIGHT = 0.035  # metres


class ThreadScene(GoalScene):
    """The ring, which a handle above its middle carries, around a post that stands fast."""

    family = "thread"
    says = "put the ring over the post"
    levels = (24.0, 16.0, 10.0, 6.0, 3.0, 1.0, 0.5)
    taught = (24.0, 16.0, 10.0, 6.0, 3.0)
    default = 1.0

    def _target(self) -> Body:
        rgb, bar = (0.5, 0.15, 0.55), (0.75, 0.35, 0.8)
        # A polygon of capsules, whose sides are as far from the middle as the ring's inner radius wants.
        middle = INNER_DIAMETER / 2 + _TUBE
        half = middle * math.tan(math.pi / _SIDES)
        shapes = []
        for side in range(_SIDES):
            angle = 2 * math.pi * side / _SIDES
            # A capsule's axis is z: lay it along y, then turn it with the ring.
            lay, turn = math.sqrt(0.5), angle / 2
            quat = (
                lay * math.cos(turn),
                -lay * math.cos(turn),
                -lay * math.sin(turn),
                lay * math.sin(turn),
            )
            centre = (middle * math.cos(angle), middle * math.sin(angle), _TUBE)
            shapes.append(Shape("capsule", (_TUBE, half), rgb, centre, quat))
        rise = (_BAR_HEIGHT - _TUBE) / 2
        for sign in (-1, 1):
            shapes.append(Shape("capsule", (0.004, rise), rgb, (0, sign * middle, _TUBE + rise)))
        shapes.append(Shape("box", (0.006, middle + 0.004, 0.008), bar, (0, 0, _BAR_HEIGHT)))
        volume = tuple((0.0, middle * share, _BAR_HEIGHT) for share in (-1.0, -0.5, 0.0, 0.5, 1.0))
        return Body(
            "ring",
            tuple(shapes),
            mass=0.08,
            footprint=middle + _TUBE,
            friction=0.4,
            volume=volume,
            grasp_width=0.012,
            grasp_height=_BAR_HEIGHT,
            grasp_symmetry=2,
        )

    def _goal(self) -> Body:
        radius = (INNER_DIAMETER - self.level / 1000) / 2
        post = Shape("cylinder", (radius, POST_HEIGHT / 2), (0.1, 0.35, 0.42), (0, 0, POST_HEIGHT / 2))
        top = Shape(
            "cylinder", (radius * 0.85, 0.0005), (0.3, 0.75, 0.8), (0, 0, POST_HEIGHT), collides=False
        )
        return Body("post", (post, top), 0.0, footprint=radius, friction=0.4, fixed=True)

    def tracker(self, initial: InitialState) -> "ThreadTracker":
        """Return what follows an episode."""
        return ThreadTracker(self.target)


class ThreadTracker(GradedTracker):
    """The ring lies on the table with the post inside."""

    def is_there(self, now: Situation) -> bool:
        """Return whether the ring lies around the post."""
        return self.off(now) < INNER_DIAMETER / 2 and self.stands(now)
