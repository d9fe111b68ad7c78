"""Conformance of suites: a sound Gymnasium environment passes, and each test catches the twin that breaks it."""

import numpy as np
import pytest

from headless_eval.policies.checks import FAILED, OK, WARNING

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


class NotFinite(Point):
    def start(self):
        return np.full(1, np.nan, np.float32)


class SameStart(Point):
    def start(self):
        return np.zeros(1, np.float32)


class Around:
    """A simulator that passes everything on, for twins that break one thing."""

    def __init__(self, simulator):
        self.simulator = simulator

    def __getattr__(self, name):
        return getattr(self.simulator, name)


class OneSlot(Around):
    num_slots = 1


class FloatFrame(Around):
    def frame(self, slot):
        return np.zeros((8, 8, 3), np.float32)


class OneBuffer(Around):
    """Gives the same arrays each time, and writes into them."""

    def __init__(self, simulator):
        super().__init__(simulator)
        self.buffers = {}

    def observe(self, slots):
        for slot, observation in zip(slots, self.simulator.observe(slots), strict=True):
            buffer = self.buffers.setdefault(slot, observation)
            buffer["observation/state"][...] = observation["observation/state"]
        return [self.buffers[slot] for slot in slots]

    def step(self, actions):
        results = self.simulator.step(actions)
        self.observe(list(actions))
        return results


class SuiteAround(Around):
    """A suite whose simulator is wrapped."""

    def __init__(self, suite, wrapper):
        super().__init__(suite)
        self.wrapper = wrapper

    def make(self, **options):
        return self.wrapper(self.simulator.make(**options))


def examined(environment, wrapper=None):
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
    tested = suite if wrapper is None else SuiteAround(suite, wrapper)
    return {one.name: one.status for one in examine_suite(tested)}


def test_a_sound_environment_passes():
    found = examined(Point)
    assert FAILED not in found.values()
    assert found["slots"] == OK


@pytest.mark.parametrize(
    ("environment", "test"),
    [(OtherGenerator, "equal seeds"), (Drifts, "slots"), (Breaks, "steps"), (NotFinite, "observations")],
)
def test_broken_environments_are_caught(environment, test):
    assert examined(environment)[test] == FAILED


@pytest.mark.parametrize(
    ("wrapper", "test"), [(OneSlot, "description"), (FloatFrame, "frame"), (OneBuffer, "copies")]
)
def test_broken_simulators_are_caught(wrapper, test):
    assert examined(Point, wrapper)[test] == FAILED


def test_equal_starts_from_other_seeds_are_a_warning():
    assert examined(SameStart)["other seeds"] == WARNING
