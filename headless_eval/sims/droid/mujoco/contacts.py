"""Which bodies touch, from MuJoCo's list of contacts."""

from collections.abc import Sequence

import mujoco
import numpy as np

from headless_eval.sims.droid.tabletop import ELSE, ROBOT

_ROOT = "panda_link0"


class Contacts:
    """The contacts of a model between named bodies, the robot, and everything else.

    MuJoCo's list is that of the last physics step; what touched for a moment within a control step is not in it.

    Args:
        model: of a scene.
        bodies: names of free or fixed bodies.
    """

    def __init__(self, model: mujoco.MjModel, bodies: Sequence[str]) -> None:
        party_of_body = np.full(model.nbody, ELSE)
        party_of_body[model.body_rootid == model.body(_ROOT).id] = ROBOT
        for number, name in enumerate(bodies):
            party_of_body[model.body(name).id] = number
        self._party_of_geom = party_of_body[model.geom_bodyid]

    def of(self, data: mujoco.MjData) -> np.ndarray:
        """Return what touches what, (contacts, 2): numbers of bodies, ``ROBOT`` or ``ELSE``."""
        parties: np.ndarray = self._party_of_geom[data.contact.geom]
        return parties
