"""Baselines move any robot, as its groups of actions say."""

from dataclasses import replace

import numpy as np
import pytest

from headless_eval.contracts.robots import (
    OPEN_OR_CLOSED,
    ROBOTS,
    ActionGroup,
    Camera,
    Robot,
    StateGroup,
)
from headless_eval.errors import UserError
from headless_eval.local_policy import load_policy
from headless_eval.policies.baselines import RandomPolicy, ZeroPolicy

_ARM = tuple(f"joint_{number}" for number in range(1, 7))


@pytest.fixture
def two_arms(monkeypatch):
    """Yield a robot with two arms of six joints and a gripper each, known while the test runs."""
    sides = ("left", "right")
    state = [
        group
        for side in sides
        for group in (
            StateGroup(f"observation/{side}_joints", _ARM, "rad"),
            StateGroup(f"observation/{side}_gripper", ("gripper",), OPEN_OR_CLOSED),
        )
    ]
    actions = [
        ActionGroup(group.key.partition("/")[2], group.names, group.unit, group.dims > 1, hold=group.key)
        for group in state
    ]
    robot = Robot(
        name="two_arms",
        summary="two arms",
        cameras=(Camera("observation/head_image", "base_0_rgb"),),
        state=tuple(state),
        actions=tuple(actions),
        control_hz=50.0,
        open_loop_horizon=8,
        prompt="fold the shirt",
    )
    ROBOTS.names()
    monkeypatch.setattr(ROBOTS, "_known", {**ROBOTS._known, robot.name: robot})
    return robot


def seen_of(robot):
    observation = robot.example_observation()
    for number, group in enumerate(robot.state):
        observation[group.key] = np.full(group.dims, 0.1 * (1 + number), np.float32)
    return observation


def test_two_arms_hold_still_and_wander(two_arms):
    observation = seen_of(two_arms)
    here = np.float32([0.1] * 6 + [0.2] + [0.3] * 6 + [0.4])
    for policy in (ZeroPolicy(), ZeroPolicy("two_arms")):
        np.testing.assert_array_equal(policy.infer(observation)["actions"], np.tile(here, (8, 1)))
    policy = RandomPolicy("two_arms")
    assert policy.noise_shape == (8, 14)
    noise = np.random.default_rng(0).standard_normal((8, 14), np.float32)
    actions = policy.infer(observation, noise)["actions"]
    grippers = [6, 13]
    assert set(np.unique(actions[:, grippers])) == {0.0, 1.0}
    arms = np.delete(actions - here, grippers, axis=1)
    np.testing.assert_allclose(arms, 0.05 * np.delete(noise, grippers, axis=1).cumsum(axis=0), atol=1e-6)
    with pytest.raises(UserError, match=r"14 actions, the noise 8: .*robot='two_arms'"):
        RandomPolicy().infer(observation)


def test_the_noise_is_that_of_before_for_known_robots():
    assert {RandomPolicy(name).noise_shape for name in (None, "droid", "libero")} == {(8, 8)}


def test_a_robot_is_told_by_its_state_or_named(two_arms, monkeypatch):
    with pytest.raises(UserError, match="lacks the state of the robot"):
        ZeroPolicy().infer({"prompt": ""})
    with pytest.raises(UserError, match="known are libero"):
        ZeroPolicy("libero").infer(seen_of(two_arms))
    with pytest.raises(UserError, match="unknown robot"):
        load_policy("zero", robot="libera")
    relative = tuple(replace(group, hold=None) for group in two_arms.actions)
    monkeypatch.setattr(ROBOTS, "_known", {**ROBOTS._known, "twin": replace(two_arms, actions=relative)})
    with pytest.raises(UserError, match="may be of the robots"):
        ZeroPolicy().infer(seen_of(two_arms))


def test_warmed_up_on_the_robot_named(two_arms):
    with load_policy("random", robot="two_arms") as policy:
        assert policy.robot == "two_arms"
        assert policy.warmup() > 0
