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

from headless_eval.sims.droid.tabletop import ELSE, LIGHT_DIRECTION, ROBOT


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


class NewtonContacts:
    """Which bodies of an environment touch, from the solver's list of contacts.

    The list is that of the last physics step, as in MuJoCo; what touched for a moment within a control step is not in
    it.

    Args:
        bodies: names of their prims within an environment.
        robot: the same of the robot.
    """

    def __init__(self, bodies: Sequence[str], robot: str):
        newton, labels = NewtonManager._solver, NewtonManager.get_model().body_label
        self._data = newton.mjw_data
        self._bodies = len(bodies)
        numbers = {name: number for number, name in enumerate(bodies)} | {robot: ROBOT}
        # Bodies in MuJoCo's order, which all environments share; the surroundings are no body of Newton's.
        party_of_body = []
        for index in newton.mjc_body_to_newton.numpy()[0]:
            names = labels[index].split("/") if index >= 0 else []
            party_of_body.append(next((numbers[name] for name in names if name in numbers), ELSE))
        self._party_of_geom = np.array(party_of_body)[newton.mj_model.geom_bodyid]

    def of(self, env: int, bodies: Sequence[int]) -> np.ndarray:
        """Return what touches what in an environment, (contacts, 2), as ``Situation`` has it.

        Args:
            env: number of the environment.
            bodies: numbers of the scene's bodies among all of them.
        """
        contact, count = self._data.contact, int(self._data.nacon.numpy()[0])
        there = contact.worldid.numpy()[:count] == env
        there &= contact.dist.numpy()[:count] < contact.includemargin.numpy()[:count]
        # Negative numbers, of robot and all else, count from the end.
        in_scene = np.full(self._bodies + 2, ELSE)
        in_scene[ROBOT] = ROBOT
        in_scene[list(bodies)] = range(len(bodies))
        parties: np.ndarray = in_scene[self._party_of_geom[contact.geom.numpy()[:count][there]]]
        return parties


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
