"""Conformance of suites: a sound Gymnasium environment passes, and each test catches the twin that breaks it."""

import numpy as np
import pytest

from headless_eval.policies.checks import FAILED, OK

gymnasium = pytest.importorskip("gymnasium", reason="the extra gym is not installed")

from headless_eval.contracts.robots import ROBOTS, ActionGroup, Robot, StateGroup  # noqa: E402
from headless_eval.runs.conformance.suite import examine_suite  # noqa: E402
from headless_eval.sims.gym.suite import GymSuite  # noqa: E402

POINT = Robot(
    name="conformance-point",
    summary="a point on a line",
    cameras=(),
    state=(StateGroup("observation/state", ("x",), "m"),),
    actions=(ActionGroup("point", ("x",), "m", relative=False, hold="observation/state"),),
    control_hz=10.0,
    open_loop_horizon=4,
    prompt="go right",
)


class Point(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-2, 2, (1,), np.float32)
    action_space = gymnasium.spaces.Box(-2, 2, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x = self.start()
        return self.observation(), {}

    def start(self):
        return self.np_random.uniform(-1, 1, 1).astype(np.float32)

    def observation(self):
        return self.x.copy()

    def step(self, action):
        self.x = self.x + 0.1 * (np.asarray(action, np.float32) - self.x)
        return self.observation(), 0.0, False, False, {"success": False}

    def render(self):
        return np.zeros((8, 8, 3), np.uint8)


class OtherGenerator(Point):
    def start(self):
        return np.random.default_rng().uniform(-1, 1, 1).astype(np.float32)


class Drifts(Point):
    drift = 0.0

    def step(self, action):
        Drifts.drift += 0.01
        self.x = self.x + np.float32(Drifts.drift)
        return self.observation(), 0.0, False, False, {"success": False}


class Breaks(Point):
    def step(self, action):
        raise RuntimeError("the gear is stuck")


def examined(environment):
    if POINT.name not in ROBOTS:
        ROBOTS.add(POINT.name, POINT)
    suite = GymSuite(
        environment,
        POINT,
        "go right",
        "success",
        name="point",
        max_steps=20,
        pictures={},
        state={"observation/state": lambda env: env.unwrapped.x.copy()},
    )
    return {one.name: one.status for one in examine_suite(suite)}


def test_a_sound_environment_passes():
    found = examined(Point)
    assert FAILED not in found.values()
    assert found["slots"] == OK


@pytest.mark.parametrize(
    ("environment", "test"), [(OtherGenerator, "equal seeds"), (Drifts, "slots"), (Breaks, "steps")]
)
def test_broken_environments_are_caught(environment, test):
    assert examined(environment)[test] == FAILED
