"""A Gymnasium environment in which a point is moved to a mark, and a suite of it."""

import gymnasium
import numpy as np

from headless_eval import GymSuite
from headless_eval.contracts.robots import ActionGroup, Camera, Robot, StateGroup

ROBOT = Robot(
    "toy_point",
    "a point on a line",
    cameras=(Camera("observation/image", "base_0_rgb"),),
    state=(StateGroup("observation/state", ("position", "mark"), "m"),),
    actions=(ActionGroup("point", ("step",), "m", relative=False),),
    control_hz=10.0,
    open_loop_horizon=2,
    prompt="go to the mark",
)


class Line(gymnasium.Env):
    """A point on the line from -1 to 1; at its ends the episode terminates."""

    made = 0
    observation_space = gymnasium.spaces.Dict(
        state=gymnasium.spaces.Box(-2, 2, (2,)),
        pixels=gymnasium.spaces.Box(0, 255, (8, 16, 3), np.uint8),
    )
    action_space = gymnasium.spaces.Box(-200, 200, (1,), np.float64)

    def __init__(self, render_mode="rgb_array", tells_success=True):
        self.render_mode, self.tells_success = render_mode, tells_success
        self.position = self.mark = 0.0
        Line.made += 1

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.position, self.mark = self.np_random.uniform(-0.5, 0.5, 2)
        return self.observation, {}

    def step(self, action):
        assert action.dtype == np.float64
        if action[0] > 150:
            raise RuntimeError("too fast")
        self.position += float(action[0]) + 0.01 * self.np_random.standard_normal()
        distance = abs(self.position - self.mark)
        info = {"is_success": np.bool_(distance < 0.05), "distance": distance} if self.tells_success else {}
        return self.observation, -distance, abs(self.position) > 1, False, info

    @property
    def observation(self):
        return {"state": np.array([self.position, self.mark]), "pixels": self.draw(8)}

    def render(self):
        return self.draw(32)

    def draw(self, height):
        picture = np.zeros((height, 2 * height, 3), np.uint8)
        picture[:, int((self.position + 3) / 6 * 2 * height) % (2 * height)] = 255
        return picture


def make_suite(make=Line, instruction="go to the mark", **changes):
    return GymSuite(
        make,
        ROBOT,
        instruction,
        "is_success",
        **{
            "name": "toy_line",
            "max_steps": 12,
            "pictures": {"observation/image": "pixels"},
            "state": {"observation/state": "state", "mark": lambda env: [env.mark]},
            "metrics": {"distance": "m", "return": ""},
        }
        | changes,
    )


SUITE = make_suite()
