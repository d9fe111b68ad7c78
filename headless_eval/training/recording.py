"""One attempt of a scripted expert in a scene of the DROID robot, recorded as observations with action chunks."""

from dataclasses import dataclass
from typing import Protocol

import mujoco
import numpy as np

from headless_eval.contracts.robots.droid import DROID
from headless_eval.sims.droid.mujoco.simulator import Slot
from headless_eval.training.blocks import label
from headless_eval.training.disturbance import Disturbance

STRIDE = 2  # control steps between two stored observations
AFTER_SUCCESS = 6  # control steps recorded beyond success


class SlotExpert(Protocol):
    """The expert of one slot's episode."""

    def action(self) -> np.ndarray:
        """Return its action (8,) in the slot's present state."""
        ...


@dataclass(frozen=True)
class Take:
    """What of an attempt is kept, and how.

    Args:
        number: of the instruction in the files, from 1 on.
        horizon: length of the action chunks.
        image_size: side of the pictures in pixels.
        max_steps: control steps within which the expert has to succeed.
    """

    number: int
    horizon: int
    image_size: int
    max_steps: int


def record(
    slot: Slot, expert: SlotExpert, disturbance: Disturbance, first: int, take: Take
) -> list[dict[str, np.ndarray]] | None:
    """Let the expert act; return the observations with the expert's action chunks, or None if it failed.

    An entry of a chunk is valid if all executed actions before it in the chunk were the expert's own.

    Args:
        slot: at its initial state.
        expert: of this slot.
        disturbance: of the executed actions.
        first: control step of the first observation kept; every ``STRIDE``-th one is.
        take: what is kept.
    """
    seen: dict[int, _Seen] = {}
    actions: list[np.ndarray] = []
    own: list[bool] = []
    left = take.max_steps
    done = False
    while left > 0:
        if len(actions) % STRIDE == first:
            seen[len(actions)] = _Seen(slot)
        action = expert.action()
        executed, undisturbed = disturbance.apply(action)
        actions.append(action)
        own.append(undisturbed)
        left -= 1
        try:
            reached = slot.step(executed)
        except FloatingPointError:
            return None
        if reached and not done:
            done, left = True, AFTER_SUCCESS
        elif slot.over:
            return None
    if not done:
        return None
    # Pictures are drawn last, as drawing takes longer than all else, and many an attempt fails.
    return [
        _row(
            state.observe(slot, take.image_size),
            actions[step : step + take.horizon],
            own[step : step + take.horizon],
            take,
        )
        for step, state in seen.items()
    ]


class _Seen:
    """What is needed of a slot's state to observe it later."""

    def __init__(self, slot: Slot):
        # As an observation does it: what the expert sees next is up to date.
        mujoco.mj_kinematics(slot.scene_model.model, slot.data)
        self._state = [part.copy() for part in _positions(slot.data)]

    def observe(self, slot: Slot, size: int) -> dict:
        """Bring the slot back into the state and return its observation then."""
        for part, then in zip(_positions(slot.data), self._state, strict=True):
            part[:] = then
        return slot.observe(size)


def _positions(data: mujoco.MjData) -> tuple[np.ndarray, ...]:
    """Return the arrays that say where everything is."""
    return data.qpos, data.mocap_pos, data.mocap_quat


def _row(observation: dict, actions: list[np.ndarray], own: list[bool], take: Take) -> dict:
    exterior, wrist = (observation[camera.key] for camera in DROID.cameras)
    return {
        "exterior": exterior,
        "wrist": wrist,
        "state": np.concatenate([observation[group.key] for group in DROID.state]),
        **label(actions, own, take.horizon),
        "scene": np.int64(take.number),
    }
