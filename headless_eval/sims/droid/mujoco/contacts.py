"""Which bodies touch, from MuJoCo's list of contacts."""

from collections.abc import Sequence

import mujoco
import numpy as np

_ROOT = "panda_link0"


class Contacts:
    """The contacts of a model between named bodies, everything else, and the robot.

    MuJoCo's list is that of the last physics step; what touched for a moment within a control step is not in it.

    Args:
        model: of a scene.
        bodies: names of free or fixed bodies.
    """

    def __init__(self, model: mujoco.MjModel, bodies: Sequence[str]) -> None:
        party_of_body = np.full(model.nbody, len(bodies))
        for index, name in enumerate(bodies):
            party_of_body[model.body(name).id] = index
        party_of_body[model.body_rootid == model.body(_ROOT).id] = len(bodies) + 1
        self._party_of_geom = party_of_body[model.geom_bodyid]
        self._parties = len(bodies) + 2

    def touching(self, data: mujoco.MjData) -> np.ndarray:
        """Return which parties touch: bool (parties, parties), the bodies in order, then all else, then the robot."""
        first, second = self._party_of_geom[data.contact.geom.T]
        counts = np.bincount(first * self._parties + second, minlength=self._parties**2)
        touching: np.ndarray = counts.reshape(self._parties, self._parties) > 0
        return touching | touching.T
