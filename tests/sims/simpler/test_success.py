"""The predicates of the SimplerEnv tasks, on numbers."""

import numpy as np
import pytest

from headless_eval.sims.simpler.success import Lift, grasps, near, on_target

HALF = np.array([0.015, 0.015, 0.015])
UP = np.array([0.0, 1.0, 0.0])


@pytest.mark.parametrize(
    ("offset", "holds"),
    [
        ((0.0, 0.0, 0.03), True),
        ((0.02, 0.0, 0.03), True),
        ((0.0243, 0.0, 0.03), False),  # beyond the diagonal of the target by more than 3 mm
        ((0.0, 0.0, -0.001), False),
        ((0.0, 0.0, 0.0501), False),  # more than 2 cm above where it would lie
    ],
)
def test_on_target(offset, holds):
    assert on_target(np.array(offset), HALF, HALF, 0.02) is holds


def test_a_can_is_lifted_while_it_is_held():
    lift = Lift(0.9)
    assert not lift.update(grasped=True, touches=False, height=0.905)
    assert lift.update(grasped=True, touches=False, height=0.911)
    assert lift.update(grasped=True, touches=True, height=0.9)  # it stays lifted until it is let go
    assert not lift.update(grasped=False, touches=True, height=0.9)


def test_a_can_that_was_high_for_five_steps_counts_for_good():
    lift = Lift(0.9)
    for _ in range(5):
        lift.update(grasped=True, touches=False, height=0.93)
    assert lift.update(grasped=False, touches=True, height=0.9)


@pytest.mark.parametrize(("angle", "holds"), [(0, True), (79, True), (81, False), (180, False)])
def test_fingers_grasp_by_pushing_against_where_they_open(angle, holds):
    push = np.array([np.sin(np.radians(angle)), np.cos(np.radians(angle)), 0.0])
    none = np.zeros(3)
    finger = [(UP, push), (UP, none)]
    # A link that takes no impulse counts as at right angles.
    assert grasps([finger, finger]) is holds
    assert not grasps([finger, [(UP, none), (UP, none)]])


def test_near_names_what_is_missing():
    first = {"a": np.array([0.0, 0.0, 0.9]), "b": np.array([0.3, 0.0, 0.9]), "c": np.array([0.0, 0.3, 0.9])}
    halves = dict.fromkeys(first, np.array([0.03, 0.03, 0.06]))
    moved = {**first, "a": np.array([0.15, 0.0, 0.9])}
    assert all(near(first, moved, "a", "b", halves).values())
    assert not near(first, first, "a", "b", halves)["moved_source"]
    assert not near(first, {**moved, "c": first["c"] - [0, 0, 0.03]}, "a", "b", halves)["kept_height"]
    assert not near(first, moved, "a", "c", halves)["nearest_to_target"]
    assert not near(first, {**first, "a": np.array([0.05, 0.0, 0.9])}, "a", "b", halves)["near_target"]
