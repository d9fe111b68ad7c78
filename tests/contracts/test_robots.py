"""Robots: cameras, groups of state and action, an example observation, how each holds still."""

import numpy as np
import pytest

from headless_eval.contracts.robots import ROBOTS, VIEWS, ActionGroup, Camera, Robot, StateGroup

TWO_ARMS = Robot(
    name="two_arms",
    summary="",
    cameras=(Camera("front", VIEWS[0]),),
    state=(StateGroup("left", ("a", "b"), "rad"), StateGroup("right", ("a", "b"), "rad")),
    actions=(
        ActionGroup("left_arm", ("a", "b"), "rad", relative=True, hold="left"),
        ActionGroup("left_gripper", ("g",), "0 to 1", relative=False),
        ActionGroup("right_arm", ("a", "b"), "rad", relative=True, hold="right"),
        ActionGroup("right_gripper", ("g",), "0 to 1", relative=False),
    ),
    control_hz=10.0,
    open_loop_horizon=4,
    prompt="hand over the bar",
)


@pytest.mark.parametrize("name", ROBOTS.names())
def test_an_example_observation_has_the_robots_keys_and_sizes(name):
    robot = ROBOTS.find(name)
    observation = robot.example_observation()
    assert set(observation) == {*robot.images.values(), *(group.key for group in robot.state), "prompt"}
    assert sum(len(observation[group.key]) for group in robot.state) == robot.state_dims
    assert set(robot.images) <= set(VIEWS)
    assert robot.hold_still(observation).shape == (robot.action_dims,)
    assert len(robot.delta_actions_mask) == robot.action_dims


def test_two_arms_are_two_groups():
    assert (TWO_ARMS.state_dims, TWO_ARMS.action_dims) == (4, 6)
    assert TWO_ARMS.delta_actions_mask == (True, True, False, True, True, False)
    observation = {"left": np.float32([1, 2]), "right": np.float32([3, 4])}
    np.testing.assert_array_equal(TWO_ARMS.hold_still(observation), [1, 2, 0, 3, 4, 0])
    with pytest.raises(KeyError, match="right"):
        TWO_ARMS.hold_still({"left": np.zeros(2)})
