"""Newton behind Isaac Lab: steps as a recorded graph on a CPU too, and environments that wait.

A control step is two thousand kernel launches, and on a CPU Python's share of them takes ten times as long as the
kernels. Isaac Lab records them on a GPU only; Warp replays a recording on a CPU as well, with the same bits.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import warp as wp
from isaaclab.sim import SimulationContext
from isaaclab_newton.physics import NewtonManager
from mujoco_warp._src import solver

from headless_eval.sims.droid.tabletop import LIGHT_DIRECTION


class NewtonStepper:
    """Steps the physics of all environments by one control step.

    Args:
        sim: the simulation, after its reset.
        num_envs: its environments.
    """

    def __init__(self, sim: SimulationContext, num_envs: int):
        self._sim = sim
        self._num_envs = num_envs
        self._graph: Any = None
        solver._jtdaj_groups_per_world = _groups_per_world

    def step(self, waiting: Sequence[int] = ()) -> None:
        """Advance all environments but those that wait."""
        rows = [self._rows(array) for array in self._state()] if waiting else []
        index = torch.tensor(list(waiting), device=self._sim.device)
        if waiting:
            NewtonManager.forward()  # resets that are due now must not happen after it
        before = [row[index].clone() for row in rows]
        if torch.device(self._sim.device).type == "cuda":
            self._sim.step(render=False)
        else:
            self._replay()
        for row, kept in zip(rows, before, strict=True):
            row[index] = kept

    def _replay(self) -> None:
        manager = self._sim.physics_manager
        if self._graph is None:
            # The first step loads the kernels. What it does counts: it is a step like any other.
            self._sim.step(render=False)
            device = self._sim.device
            wp.capture_begin(device)
            try:
                with wp.ScopedDevice(device):
                    manager._simulate_physics_only()
            finally:
                self._graph = wp.capture_end(device)
            return
        manager.forward()
        wp.capture_launch(self._graph)
        manager._mark_transforms_changed()

    def _state(self) -> list[wp.array]:
        """Return everything of an environment's that a step changes and the next one starts from."""
        state, solver = NewtonManager.get_state_0(), NewtonManager._solver
        return [state.joint_q, state.joint_qd, state.body_q, state.body_qd, solver.mjw_data.qacc_warmstart]

    def _rows(self, array: wp.array) -> torch.Tensor:
        return wp.to_torch(array).view(self._num_envs, -1)


_groups_of = solver._jtdaj_groups_per_world


def _groups_per_world(nworld: int, njmax: int) -> int:
    """Return into how many groups MuJoCo Warp splits an environment's constraints to add them up.

    By itself it takes fewer the more environments there are, and the order of a sum follows from it: an episode
    would depend on the number of slots.
    """
    return 1 if wp.get_device().is_cpu else _groups_of(1, njmax)


def set_sun(camera: Any) -> None:
    """Make the scene's directional light the light of the renderer that this camera shares with all others."""
    direction = np.array(LIGHT_DIRECTION)
    camera._renderer.newton_sensor.utils.create_default_light(
        enable_shadows=False, direction=wp.vec3f(*(direction / np.linalg.norm(direction)))
    )
