"""The suite ``pusht``, a Gymnasium environment; imports no simulator."""

from typing import Any

from headless_eval.contracts.robots.pusht import PUSHT
from headless_eval.sims.gym.suite import GymSuite
from headless_eval.sims.registry import SUITES


def make() -> Any:
    """Return the environment that LeRobot's policies for Push-T were trained in."""
    import gym_pusht  # noqa: F401 - registers the environment
    import gymnasium

    return gymnasium.make("gym_pusht/PushT-v0", obs_type="pixels_agent_pos", render_mode="rgb_array")


SUITES.add(
    "pusht",
    GymSuite(
        make,
        PUSHT,
        PUSHT.prompt,
        "is_success",
        name="pusht",
        max_steps=300,
        summary="gym-pusht: a disc pushes a T-shaped block onto its mark; 95 % coverage is success",
        pictures={"observation/image": "pixels"},
        state={
            "observation/state": "agent_pos",
            # Where the block is: 8 points, in pixels; not for a policy that is to see it in the picture.
            "observation/environment_state": lambda env: env.get_keypoints(env._block_shapes),
        },
        metrics={"coverage": ""},
        libraries=("pymunk", "shapely"),
        package="headless-eval[pusht]",
    ),
)
