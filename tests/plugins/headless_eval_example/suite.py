"""A suite over a Gymnasium environment; the environment is imported when the simulator is started."""

from headless_eval import GymSuite
from headless_eval_example.robot import POINT


def make():
    """Return a new environment."""
    from headless_eval_example.plane import Plane

    return Plane()


PLANE = GymSuite(
    make,
    POINT,
    "go to the goal",
    "reached",
    name="plane",
    max_steps=80,
    summary="a point in the plane has to stop at a goal",
    state={"observation/position": "position", "observation/goal": "goal"},
    metrics={"distance": "m"},
    package="gymnasium",
)
