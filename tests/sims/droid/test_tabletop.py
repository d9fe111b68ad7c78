"""What all scenes have in common."""

from dataclasses import replace

import numpy as np
import pytest
from situations import settled

from headless_eval.sims.droid.tabletop import ELSE, ROBOT, InitialState

POSE = np.array([0.5, 0.2, 0.0, 1, 0, 0, 0])


@pytest.mark.parametrize(
    ("contacts", "touched", "on_goal"),
    [
        (None, None, None),
        ([], False, False),
        ([(ROBOT, 1), (0, ELSE), (ROBOT, ELSE)], False, False),
        ([(0, 1)], False, True),
        ([(1, ELSE), (0, ROBOT), (1, 0)], True, True),
        ([(ROBOT, 0)], True, False),
    ],
)
def test_what_touches_is_known_only_where_contacts_are_told(contacts, touched, on_goal):
    now = settled(POSE, POSE)
    if contacts is not None:
        now = replace(now, contacts=np.array(contacts, int).reshape(-1, 2))
    assert now.touched is touched
    assert now.touch(0, 1) is now.touch(1, 0) is on_goal


@pytest.mark.parametrize(("choice", "more"), [(None, []), (2, [2.0])])
def test_an_initial_state_is_all_its_numbers(choice, more):
    state = InitialState(np.arange(7.0), np.stack([POSE, POSE + 1]), choice)
    np.testing.assert_array_equal(state.numbers, [*range(7), *POSE, *(POSE + 1), *more])
