"""Scripted expert for ``libero_object``: it puts the grocery into the basket, replanning at every control step."""

import math

import numpy as np

from headless_eval.sims.libero.environment import Environment

_STEP = 0.05  # metres that the controller's goal moves at an action of 1
_TURN = 0.5  # radians that the controller's goal turns at an action of 1
_GRASP = 0.02  # metres from the target's origin up to the point between the fingers
_HOVER = 0.11  # metres above the grasp before going down
_TRAVEL = 0.20  # metres, height of the gripper on its way to the target
_CARRY = 0.27  # metres, height of the gripper on its way to the basket
_CLEAR = 0.22  # metres, height of the target's origin at which it passes over the basket's rim
_LOW = 0.13  # metres, height of the target's origin at which it may be dropped
_CLOSE_STEPS = 10
_OPEN_STEPS = 8
_HELD = (0.03, 0.06)  # metres between the fingers
# The gripper points down, its fingers moving along y.
_DOWN = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])


class Expert:
    """The expert of one episode; ``action()`` returns its action in the environment's present state.

    An action depends only on the present state and the phase: after any disturbance, the next one leads the arm back.
    """

    def __init__(self, environment: Environment, generator: np.random.Generator):
        self._environment = environment
        self._target = environment.body(environment.target)
        self._basket = environment.body("basket_1")
        model = environment.model
        self._site = model.site("gripper0_grip_site").id
        self._fingers = [int(model.joint(f"gripper0_finger_joint{number}").qposadr[0]) for number in (1, 2)]
        self.phase = "approach"
        self._count = 0
        # The pace varies a little between episodes.
        self._gain = generator.uniform(0.9, 1.1)

    def action(self) -> np.ndarray:
        """Return the change of position and of axis-angle, and the gripper (-1 open, 1 closed), float64 (7,)."""
        data = self._environment.data
        tip = data.site_xpos[self._site]
        target, basket = data.xpos[self._target], data.xpos[self._basket]
        self._advance(tip, target, basket)
        goal = self._goal(tip, target, basket)
        move = np.clip(self._gain * (goal - tip) / _STEP, -1.0, 1.0)
        move /= max(1.0, float(np.linalg.norm(move)))
        now = data.site_xmat[self._site].reshape(3, 3)
        turn = 0.5 * np.cross(now.T, _DOWN.T).sum(axis=0) / _TURN
        closed = 1.0 if self.phase in ("close", "carry", "lower") else -1.0
        return np.array([*move, *np.clip(turn, -0.5, 0.5), closed])

    def _advance(self, tip: np.ndarray, target: np.ndarray, basket: np.ndarray) -> None:
        grasp = target + np.array([0.0, 0.0, _GRASP])
        aside = math.hypot(*(tip - grasp)[:2])
        over = math.hypot(*(target - basket)[:2])
        held = float(np.linalg.norm(tip - grasp)) < 0.04 and _HELD[0] < self._opening() < _HELD[1]
        phase = self.phase
        if phase == "approach" and aside < 0.012 and tip[2] < grasp[2] + 0.15:
            phase = "descend"
        elif phase == "descend" and aside > 0.03:
            phase = "approach"
        elif phase == "descend" and tip[2] - grasp[2] < 0.012:
            phase = "close"
        elif phase == "close" and self._count >= _CLOSE_STEPS:
            phase = "carry" if held else "approach"
        elif phase in ("carry", "lower") and not held and self._count > 3:
            phase = "approach"
        elif phase == "carry" and over < 0.025 and target[2] > _CLEAR:
            phase = "lower"
        elif phase == "lower" and target[2] < _LOW:
            phase = "release"
        elif phase == "release" and self._count >= _OPEN_STEPS:
            phase = "approach"
        self._count = 0 if phase != self.phase else self._count + 1
        self.phase = phase

    def _opening(self) -> float:
        left, right = self._environment.data.qpos[self._fingers]
        return float(left - right)

    def _goal(self, tip: np.ndarray, target: np.ndarray, basket: np.ndarray) -> np.ndarray:
        grasp = target + np.array([0.0, 0.0, _GRASP])
        if self.phase == "approach":
            near = math.hypot(*(tip - grasp)[:2]) < 0.05
            return np.append(grasp[:2], grasp[2] + _HOVER if near else max(grasp[2] + _HOVER + 0.02, _TRAVEL))
        if self.phase == "descend":
            return grasp
        if self.phase == "close":
            return np.append(grasp[:2], tip[2])
        above = basket[:2] - (target - tip)[:2]
        if self.phase == "carry":
            # Up first: do not sweep over the floor.
            share = 1.0 if target[2] > 0.18 else 0.3 if target[2] > 0.12 else 0.0
            return np.append(tip[:2] + share * (above - tip[:2]), _CARRY)
        if self.phase == "lower":
            return np.append(above, tip[2] - _STEP)
        return tip
