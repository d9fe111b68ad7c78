"""What policies and suites declare of the interface between them."""

from dataclasses import replace

import pytest

from headless_eval.contracts.compatibility import Declared, compare
from headless_eval.contracts.robots import ROBOTS
from headless_eval.errors import UserError

DROID = ROBOTS["droid"]


def differing(policy, steps=8, **known):
    return [fit.what for fit in compare(policy, DROID, steps, **known) if fit.fits is False]


def not_compared(policy):
    return [fit.what for fit in compare(policy, DROID, 8) if fit.fits is None]


def test_the_suites_robot_fits_and_silence_is_not_compared():
    assert differing(Declared(DROID)) == []
    assert not_compared(Declared(DROID)) == ["actions of a chunk"]
    assert len(not_compared(Declared())) == 6
    assert differing(Declared("unknown here")) == ["robot"]


def test_groups_units_and_rates_are_compared():
    metres = replace(DROID, actions=(replace(DROID.actions[0], unit="m"), DROID.actions[1]))
    assert differing(Declared(metres)) == ["actions"]
    assert differing(Declared(replace(DROID, actions=DROID.actions[::-1]))) == ["actions"]
    assert differing(Declared(replace(DROID, state=DROID.state[:1]))) == []  # it reads less than it is shown
    degrees = replace(DROID, state=(replace(DROID.state[0], unit="deg"), DROID.state[1]))
    assert differing(Declared(degrees)) == ["state"]
    assert differing(Declared(replace(DROID, control_hz=10.0))) == ["control rate"]
    assert differing(Declared(DROID), control_hz=5.0) == ["control rate"]
    assert differing(Declared(ROBOTS["libero"])) == ["robot", "cameras", "state", "actions", "control rate"]


@pytest.mark.parametrize(
    ("requirement", "value", "what"),
    [
        ("cameras", ["observation/wrist_image_left"], None),
        ("cameras", ["observation/top"], "cameras"),
        ("state", ["observation/joint_position"], None),
        ("state", ["observation/force"], "state"),
        ("action_dims", 8, None),
        ("action_dims", 7, "actions"),
        ("control_hz", 15, None),
        ("control_hz", 20, "control rate"),
        ("action_horizon", 8, None),
        ("action_horizon", 7, "actions of a chunk"),
    ],
)
@pytest.mark.parametrize("robot", [None, DROID])
def test_requirements_count_with_and_without_a_robot(robot, requirement, value, what):
    assert differing(Declared(robot, {requirement: value})) == ([] if what is None else [what])


def test_an_unknown_requirement_is_named():
    with pytest.raises(UserError, match="unknown requirement of the policy 'camera': did you mean cameras"):
        Declared(requires={"camera": []})
