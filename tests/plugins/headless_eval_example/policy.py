"""A policy with a history: it moves to the goal, and changes its velocity slowly."""

import numpy as np
import torch
from torch import nn


class Steady:
    """Moves to the goal, at most at 1 m/s; a velocity is half of the one before and half of the wanted one.

    Args:
        jitter: standard deviation of a velocity's random part in m/s, drawn from torch's generator.
    """

    robot = "point"
    stateless = False
    open_loop_horizon = 4

    def __init__(self, jitter: float = 0.0) -> None:
        self.net = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2))
        with torch.no_grad():  # together: goal - position
            first = torch.tensor([[-1.0, 0, 1, 0], [0, -1, 0, 1]])
            self.net[0].weight.copy_(torch.cat([first] * 4))
            self.net[1].weight.copy_(torch.cat([torch.eye(2)] * 4, dim=1) / 4)
            for layer in self.net:
                layer.bias.zero_()
        self._jitter = jitter
        self._velocities: dict[int, np.ndarray] = {}

    def reset(self, slots=None):
        for slot in list(self._velocities) if slots is None else slots:
            self._velocities.pop(slot, None)

    def infer(self, obs):
        return self.infer_batch([obs], [0])[0]

    def infer_batch(self, observations, slots):
        return [{"actions": self._chunk(obs, slot)} for obs, slot in zip(observations, slots, strict=True)]

    def _chunk(self, obs, slot):
        position, goal = (np.asarray(obs[f"observation/{name}"]) for name in ("position", "goal"))
        wanted = self.net(torch.from_numpy(np.concatenate([position, goal])).float())
        wanted = (wanted + self._jitter * torch.randn(2)).clamp(-1, 1).numpy()
        velocity = self._velocities.get(slot, np.zeros(2, np.float32))
        chunk = []
        for _ in range(self.open_loop_horizon):
            velocity = (velocity + wanted) / 2
            chunk.append(velocity)
        self._velocities[slot] = velocity
        return np.stack(chunk)
