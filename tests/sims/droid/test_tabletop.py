"""What all scenes have in common."""

from dataclasses import replace

import numpy as np
import pytest
from situations import settled

from headless_eval.sims.droid.tabletop import InitialState

POSE = np.array([0.5, 0.2, 0.0, 1, 0, 0, 0])


def test_whether_the_target_is_touched_is_known_only_where_contacts_are_told():
    now = settled(POSE, POSE)
    assert now.touched is None
    touching = np.zeros((4, 4), bool)
    touching[3, 1] = touching[1, 3] = True  # the robot touches the goal
    assert replace(now, touching=touching).touched is False
    touching[3, 0] = touching[0, 3] = True
    assert replace(now, touching=touching).touched is True


@pytest.mark.parametrize(("choice", "more"), [(None, []), (2, [2.0])])
def test_an_initial_state_is_all_its_numbers(choice, more):
    state = InitialState(np.arange(7.0), np.stack([POSE, POSE + 1]), choice)
    np.testing.assert_array_equal(state.numbers, [*range(7), *POSE, *(POSE + 1), *more])
