"""Outcomes of executed actions."""

import numpy as np
import pytest

from headless_eval.contracts.robots import ROBOTS, VIEWS, ActionGroup, Camera, Robot, StateGroup
from headless_eval.results.outcomes import QUANTITIES
from headless_eval.rollout.outcomes import ActionOutcomes, mean_jerk, spectral_arc_length


def droid(positions):
    """Return actions of the robot ``droid`` whose joints are all at these positions; the gripper opens and closes."""
    gripper = np.arange(len(positions)) % 2
    return np.column_stack([np.repeat(np.asarray(positions)[:, None], 7, axis=1), gripper]).astype(np.float32)


def test_path_and_jump_of_joint_targets_leave_out_the_gripper():
    found = ActionOutcomes(ROBOTS.find("droid"), 15.0)(droid([0.0, 0.1, 0.1, -0.2]), True)
    assert found["path_length"] == pytest.approx(0.4 * np.sqrt(7), rel=1e-5)
    assert found["largest_jump"] == pytest.approx(0.3 * np.sqrt(7), rel=1e-5)
    assert found["time_to_success_s"] == pytest.approx(4 / 15, rel=1e-5)
    # The third difference of these positions is (-0.2) - 3 * 0.1 + 3 * 0.1 - 0.
    assert found["jerk"] == pytest.approx(0.2 * np.sqrt(7) * 15**3, rel=1e-5)


def test_a_constant_acceleration_has_no_jerk_and_a_cubic_has_its_own():
    time = np.arange(20) / 15
    assert mean_jerk(np.column_stack([time**2, -(time**2)]), 15.0) == pytest.approx(0, abs=1e-9)
    assert mean_jerk(np.column_stack([time**3, 0 * time]), 15.0) == pytest.approx(6)


def test_spectral_arc_length_agrees_with_the_authors_code():
    # The example of the authors' own implementation (github.com/siva82kb/SPARC, smoothness.py) gives -1.41403.
    time = np.arange(-1, 1, 0.01)
    assert spectral_arc_length(np.exp(-5 * time**2), 100.0) == pytest.approx(-1.41403, abs=5e-6)


def test_two_movements_are_less_smooth_than_one():
    time = np.linspace(0, 1, 60)
    one = np.sin(np.pi * time) ** 2
    two = np.sin(2 * np.pi * time) ** 2
    assert spectral_arc_length(two, 15.0) < spectral_arc_length(one, 15.0) < -1


def test_smoothness_does_not_depend_on_the_amplitude():
    speed = np.abs(np.random.default_rng(0).normal(size=80))
    assert spectral_arc_length(3 * speed, 15.0) == pytest.approx(spectral_arc_length(speed, 15.0))


def test_commands_that_are_changes_are_added_up():
    actions = np.zeros((10, 7), np.float32)
    actions[:, 0], actions[:, 6] = 0.5, 1.0  # a steady movement, and the gripper
    found = ActionOutcomes(ROBOTS.find("libero"), 20.0)(actions, False)
    assert found["path_length"] == pytest.approx(4.5)  # the first command has no one before it
    assert found["jerk"] == 0
    assert "time_to_success_s" not in found


def test_of_metres_and_radians_the_first_are_measured():
    outcomes = ActionOutcomes(ROBOTS.find("widowx"), 5.0)
    actions = np.zeros((10, 7), np.float32)
    actions[:, 3:6] = 1.0  # it only turns
    assert outcomes(actions, False)["path_length"] == 0
    assert outcomes.units["path_length"] == "m"
    assert outcomes.units["jerk"] == "m/s³"


def test_a_range_is_no_unit():
    units = ActionOutcomes(ROBOTS.find("libero"), 20.0).units
    assert (units["path_length"], units["jerk"]) == ("", "1/s³")
    assert ActionOutcomes(ROBOTS.find("droid"), 15.0).units["largest_jump"] == "rad"


def test_two_arms_are_measured_together():
    two = Robot(
        name="two_arms",
        summary="",
        cameras=(Camera("front", VIEWS[0]),),
        state=(StateGroup("left", ("a",), "rad"), StateGroup("right", ("a",), "rad")),
        actions=(
            ActionGroup("left_arm", ("a",), "rad", relative=True, hold="left"),
            ActionGroup("left_gripper", ("g",), "rad", relative=False, hold="left"),
            ActionGroup("right_arm", ("a",), "rad", relative=True, hold="right"),
        ),
        control_hz=10.0,
        open_loop_horizon=4,
        prompt="hand over the bar",
    )
    found = ActionOutcomes(two, 10.0)(np.float32([[0, 0, 0], [3, 50, 4]]), False)
    assert found["path_length"] == found["largest_jump"] == 5


@pytest.mark.parametrize("steps", [0, 1, 2, 3])
def test_what_so_few_steps_do_not_tell_is_left_out(steps):
    actions = droid(np.arange(steps) * 0.1) if steps else np.empty((0, 0), np.float32)
    found = ActionOutcomes(ROBOTS.find("droid"), 15.0)(actions, False)
    assert "jerk" not in found
    assert ("path_length" in found) == (steps > 0)
    assert all(np.isfinite(value) for value in found.values())


def test_an_arm_that_stays_has_no_smoothness():
    found = ActionOutcomes(ROBOTS.find("droid"), 15.0)(droid([0.5] * 20), False)
    assert "smoothness_sparc" not in found
    assert found["path_length"] == found["jerk"] == 0


def test_actions_of_another_width_are_not_measured():
    found = ActionOutcomes(ROBOTS.find("droid"), 15.0)(np.zeros((9, 3), np.float32), True)
    assert set(found) == {"time_to_success_s"}


@pytest.mark.parametrize("name", ROBOTS.names())
def test_every_outcome_is_registered_and_has_a_unit(name):
    robot = ROBOTS.find(name)
    outcomes = ActionOutcomes(robot, robot.control_hz)
    actions = np.random.default_rng(0).normal(size=(40, robot.action_dims)).astype(np.float32)
    found = outcomes(actions, True)
    assert set(found) == set(outcomes.units) <= set(QUANTITIES)
