"""A toy of DROID's robot and a policy for it that keeps every convention, so that each can be broken alone.

The arm has to move its first joint to the goal and close the gripper there. The policy sees by the pictures' corners
and colours, and by their places, that all is as in its training; if not, it goes the wrong way.
"""

from types import SimpleNamespace

import numpy as np

from headless_eval.contracts.robots import ROBOTS
from headless_eval.contracts.simulator import StepResult, Task
from headless_eval.local_policy import LocalPolicy
from headless_eval.policies.norm_stats import NormStats
from headless_eval.runs.pitfalls import look_for_pitfalls
from headless_eval.runs.pitfalls.evidence import Evidence
from headless_eval.sims.registry import find_suite

EXTERIOR, WRIST = (camera.key for camera in ROBOTS["droid"].cameras)
JOINTS, GRIPPER = (group.key for group in ROBOTS["droid"].state)
PROMPT = ROBOTS["droid"].prompt
HOME = np.array([0.0, -0.5, 0.1, -2.4, 0.0, 2.2, 0.3, 0.0])
GOAL = 0.5
SIDE = 64


def picture(seed):
    """A picture whose corners and channels all differ."""
    return np.random.default_rng(seed).integers(0, 255, (SIDE, SIDE, 3), np.uint8)


class Arm:
    """The simulator: the state follows the target as far as a step allows."""

    suite, num_slots, control_hz = "droid", 3, 15.0

    def __init__(self, prompt=PROMPT, success=None, tasks=2, steps=25):
        self.tasks = tuple(Task(i, f"task_{i}", f"task {i}", prompt, steps) for i in range(tasks))
        self._success, self._prompt = success, prompt
        self._states, self._came_open = {}, {}

    def reset(self, slot, task, seed):
        self._states[slot] = HOME + 0.001 * seed.episode
        self._came_open[slot] = False

    def observe(self, slots):
        return [
            {
                EXTERIOR: picture(1),
                WRIST: picture(2),
                JOINTS: self._states[slot][:7].astype(np.float32),
                GRIPPER: self._states[slot][7:].astype(np.float32),
                "prompt": self._prompt,
            }
            for slot in slots
        ]

    def step(self, actions):
        results = {}
        for slot, action in actions.items():
            self._states[slot] = self._states[slot] + np.clip(action - self._states[slot], -0.1, 0.1)
            state = self._states[slot]
            near, closed = abs(state[0] - GOAL) < 0.1, state[7] > 0.15
            self._came_open[slot] |= bool(near and not closed)
            results[slot] = StepResult(bool(near and closed and self._came_open[slot]))
        return results

    def describe(self):
        return {} if self._success is None else {"success": self._success}


def stats(mean, span, deviation):
    """Statistics whose quantiles and deviations say very different things."""
    mean, span = np.asarray(mean, float), np.asarray(span, float)
    return NormStats(mean, deviation * span, mean - span, mean + span)


class Keeper:
    """The policy: it keeps every convention of its training, by mean and deviation."""

    robot, stateless, open_loop_horizon, image_size = "droid", True, 8, SIDE
    trained_with_quantiles = False

    def __init__(self, **changed):
        self.norm_stats = {
            "state": stats(HOME, [0.8] * 7 + [0.5], 0.1),
            "actions": stats([0] * 7 + [0.5], [0.6] * 7 + [0.5], 0.1),
        }
        self._trained = self.norm_stats
        self.uses_quantiles = False
        self.config = SimpleNamespace(delta_actions_mask=(True,) * 7 + (False,), name="keeper")
        for name, value in changed.items():
            setattr(self, name, value)

    def infer(self, obs):
        state = np.concatenate([obs[JOINTS], obs[GRIPPER]]).astype(float)
        # What the model gets and gives is normalised as configured, and means what it meant in training.
        normal = self.norm_stats["state"].normalize(state, self.uses_quantiles)
        meant = self._trained["state"].unnormalize(normal, self.trained_with_quantiles)
        right = all(
            np.array_equal(obs[key][2:-2, 2:-2], picture(seed)[2:-2, 2:-2])
            for key, seed in ((EXTERIOR, 1), (WRIST, 2))
        )
        right &= obs["prompt"] == PROMPT
        ahead = (GOAL - meant[0]) if right else -0.5
        chunk = np.zeros((10, 8))
        chunk[:, 0] = np.clip(ahead, -0.4, 0.4) * np.linspace(0.2, 1, 10)
        chunk[:, 1:7] = (HOME[1:7] - meant[1:7]) * 0.1
        chunk[:, 7] = float(right and abs(ahead) < 0.15)
        # Every part of the observation counts a little, to the pictures' edges.
        chunk[:, 6] += 1e-6 * sum(float(obs[key].mean()) for key in (EXTERIOR, WRIST)) + 1e-6 * len(
            obs["prompt"]
        )
        said = self._trained["actions"].normalize(chunk, self.trained_with_quantiles)
        actions = self.norm_stats["actions"].unnormalize(said, self.uses_quantiles)
        mask = np.zeros(8)
        mask[: len(self.config.delta_actions_mask or ())] = self.config.delta_actions_mask or ()
        return {"actions": actions + mask * state}


class Wrapped:
    """A policy behind code of its own, which shows nothing of it and breaks a convention."""

    robot, stateless, open_loop_horizon, image_size = "droid", True, 8, SIDE

    def __init__(self, observe=dict, act=lambda obs, chunk: chunk):
        self._observe, self._act, self._inner = observe, act, Keeper()

    def infer(self, obs):
        actions = self._inner.infer(self._observe(obs))["actions"].copy()
        return {"actions": self._act(obs, actions)}


def evidence(policy=None, simulator=None, horizon=8, suite="droid"):
    """Evidence of a policy in the toy."""
    simulator = simulator or Arm()
    return Evidence(
        LocalPolicy(policy or Keeper(), "toy"), find_suite(suite), simulator, simulator.tasks, horizon
    )


def findings(policy=None, simulator=None, seconds=0.0, **options):
    """The findings of all pitfalls, by their keys."""
    return {one.pitfall: one for one in look_for_pitfalls(evidence(policy, simulator, **options), seconds)}


class Shown:
    """A simulator that shows given observations and takes no step."""

    num_slots, control_hz = 1, 5.0

    def __init__(self, *observations):
        self.tasks = tuple(Task(i, f"task_{i}", "", "", 1) for i in range(len(observations)))
        self._observations, self._now = observations, 0

    def reset(self, slot, task, seed):
        self._now = task.id

    def observe(self, slots):
        return [dict(self._observations[self._now]) for _ in slots]

    def describe(self):
        return {}
