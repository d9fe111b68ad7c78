"""Steadying of a target that does not come to rest on its goal.

MuJoCo's native collider finds one or two points between a box and a round floor, and others in the next step: a cube
that leans in the bowl rocks for ever at 0.1 to 0.8 rad/s and never counts as at rest. The older collider's points stay,
and the cube comes to rest. It is used only once a target has been restless for a second, so that all other episodes
are computed as they always were.
"""

import copy

import mujoco
import numpy as np

from headless_eval.sims.droid.tabletop import CONTROL_HZ, Situation

RESTLESS_STEPS = round(CONTROL_HZ)  # a second; a target that settles by itself needs a third of that
RESTLESS_ANGULAR = 0.05  # radians a second


def steady_model(model: mujoco.MjModel) -> mujoco.MjModel:
    """Return a copy of a model, for the same data, whose contacts stay where they are."""
    steady = copy.copy(model)
    steady.opt.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_NATIVECCD)
    return steady


class Restlessness:
    """Tells when a target has been turning on its goal for too long, in contact with it and not with the robot."""

    def __init__(self) -> None:
        self._steps = 0

    @property
    def needs_steadying(self) -> bool:
        """Return whether the target has been turning for too long; so it stays until the contact ends."""
        return self._steps >= RESTLESS_STEPS

    def update(self, now: Situation) -> None:
        """Take the situation after a control step, with its contacts."""
        turning = np.linalg.norm(now.target_velocity[3:]) > RESTLESS_ANGULAR
        if self._steps == 0 and not turning:
            return
        if now.touched or not now.touch(0, 1):
            self._steps = 0
        elif turning:
            self._steps += 1
