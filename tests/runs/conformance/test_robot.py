"""Conformance of robots: each test catches the twin of a robot of ours that breaks it."""

from dataclasses import replace

import pytest

from headless_eval.contracts.robots import ROBOTS
from headless_eval.policies.checks import FAILED
from headless_eval.runs.conformance.robot import examine_robot

DROID = ROBOTS.find("droid")


@pytest.mark.parametrize(
    ("changes", "test"),
    [
        ({"cameras": (*DROID.cameras, DROID.cameras[0])}, "groups"),
        ({"state": (*DROID.state, DROID.state[0])}, "groups"),
        ({"actions": ()}, "groups"),
        ({"state": (replace(DROID.state[0], unit=("rad", "rad")), *DROID.state[1:])}, "units"),
        ({"control_hz": 0.0}, "rates"),
        ({"open_loop_horizon": 0}, "rates"),
    ],
)
def test_broken_robots_are_caught(changes, test):
    found = {one.name: one.status for one in examine_robot(replace(DROID, **changes))}
    assert found[test] == FAILED
