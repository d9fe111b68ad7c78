"""A plane as a Gymnasium environment: a point has to stop at a goal."""

import gymnasium
import numpy as np

_SIDE = 48  # of a picture, in pixels


class Plane(gymnasium.Env):
    """A point in a square of 2 m; its velocity follows the action, with a little noise of the environment's own."""

    render_mode = "rgb_array"
    observation_space = gymnasium.spaces.Dict(
        position=gymnasium.spaces.Box(-2, 2, (2,)), goal=gymnasium.spaces.Box(-1, 1, (2,))
    )
    action_space = gymnasium.spaces.Box(-1, 1, (2,))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._position, self._goal = self.np_random.uniform(-0.9, 0.9, (2, 2))
        return self._observation(), {}

    def step(self, action):
        move = 0.1 * np.clip(action, -1, 1)
        self._position = self._position + move + 0.001 * self.np_random.standard_normal(2)
        distance = float(np.linalg.norm(self._position - self._goal))
        out = bool(np.abs(self._position).max() > 1)
        info = {"reached": distance < 0.05 and float(np.linalg.norm(move)) < 0.02, "distance": distance}
        return self._observation(), -distance, out, False, info

    def render(self):
        picture = np.full((_SIDE, _SIDE, 3), 255, np.uint8)
        for place, colour in ((self._goal, (0, 160, 0)), (self._position, (0, 0, 200))):
            column, row = np.clip(((place + 1) / 2 * _SIDE).astype(int), 1, _SIDE - 2)
            picture[row - 1 : row + 2, column - 1 : column + 2] = colour
        return picture

    def _observation(self):
        return {"position": self._position.copy(), "goal": self._goal.copy()}
