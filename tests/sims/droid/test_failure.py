"""Reasons of failure, on courses made up of what the bodies and the hand do."""

from dataclasses import replace

import numpy as np
import pytest
from episodes import Story

from headless_eval.results.outcomes import REASONS
from headless_eval.sims.droid.failure import drops_in, phase_of, reason_of
from headless_eval.sims.droid.geometry import yaw_quat
from headless_eval.sims.droid.scenes import SCENES

CUBE, CAN, BANANA = SCENES
LYING = (np.sqrt(0.5), np.sqrt(0.5), 0.0, 0.0)


def told(story):
    """Return reason, phase and drops."""
    course = story.course()
    return reason_of(course), phase_of(course), drops_in(course)


@pytest.fixture(params=[True, False], ids=["contacts told", "contacts unknown"])
def story(request):
    return Story(CUBE, contacts=request.param)


def test_a_hand_that_stays_away_never_reached(story):
    assert told(story.wait(20)) == ("never_reached", "approach", 0)


def test_a_hand_that_hovers_over_the_target_missed_the_grasp(story):
    assert told(story.reach().wait(20)) == ("missed_grasp", "grasp", 0)


def test_a_hand_that_closes_on_nothing_missed_the_grasp(story):
    assert told(story.reach().close(empty=True).raise_hand()) == ("missed_grasp", "grasp", 0)


def test_a_grasp_that_lifts_nothing_missed_it_too(story):
    assert told(story.reach().close().wait(10).open()) == ("missed_grasp", "lift", 0)


def test_a_target_lost_on_the_way_was_dropped(story):
    story = story.reach().close().lift().carry(0.3).drop()
    assert told(story) == ("dropped", "carry", 1)
    assert told(story.reach().close(empty=True).wait(30)) == ("dropped", "carry", 1)


def test_a_target_set_down_on_the_way_is_lost_and_not_a_drop_in_the_air(story):
    assert told(story.reach().close().lift().carry(0.3).lower().open()) == ("dropped", "carry", 0)


@pytest.mark.parametrize("beside", [0.06, 0.12])
def test_a_target_let_go_of_beside_the_container_missed_the_goal(story, beside):
    story = story.reach().close().lift().carry(1.0, beside=beside).drop(away=0.13)
    assert told(story)[0] == "missed_goal"
    assert told(story)[2] == 0


def test_a_target_held_over_the_container_was_not_released(story):
    assert told(story.reach().close().lift().carry(1.0).wait(40)) == ("not_released", "place", 0)


def test_a_target_on_its_way_at_the_end_is_out_of_time(story):
    assert told(story.reach().close().lift().carry(0.5).wait(5)) == ("out_of_time", "carry", 0)
    assert told(story.carry(0.5).wait(5))[0] == "out_of_time"


def test_a_target_that_moves_in_the_container_at_the_end_is_out_of_time(story):
    assert told(story.reach().close().lift().carry(1.0).drop(inside=True)) == ("out_of_time", "place", 0)


def test_a_target_in_the_container_in_the_hand_was_not_released(story):
    assert told(story.reach().close().lift().carry(1.0).lower())[0] == "not_released"


def test_a_target_pressed_on_the_goal_askew_was_not_released(story):
    course = story.reach().close().lift().carry(1.0).lower().wait(40).course()
    assert course.held[-1]
    assert not course.lifted[-1]
    assert reason_of(replace(course, there=False)) == "not_released"


def test_a_can_that_lies_was_knocked_over():
    story = Story(CAN).reach().put(0, quat=LYING, rise=-0.011)
    assert told(story) == ("knocked_over", "grasp", 0)


def test_a_can_that_was_set_up_again_and_carried_was_not_knocked_over():
    story = Story(CAN).reach().put(0, quat=LYING, rise=-0.011).reach().close().lift().carry(0.3).drop()
    assert told(story)[0] == "dropped"


@pytest.mark.parametrize("number", [0, 1], ids=["target", "container"])
def test_what_is_swept_off_the_table_was_knocked_over(story, number):
    assert told(story.put(number, rise=-0.75))[0] == "knocked_over"


def test_a_container_on_its_side_was_knocked_over(story):
    story = story.reach().close().lift().carry(0.3).drop().put(1, quat=LYING)
    assert told(story) == ("knocked_over", "carry", 1)


def test_a_cube_that_was_turned_on_the_table_was_not_knocked_over(story):
    story = story.reach().put(0, quat=yaw_quat(1.0), shift=(0.05, 0.0))
    assert told(story)[0] == "missed_grasp"


def test_another_body_in_the_air_is_the_wrong_object(story):
    assert told(story.wait(3).grab_other(2)) == ("wrong_object", "approach", 0)


def test_another_body_in_the_container_is_the_wrong_object(story):
    assert told(story.reach().put(3, at=story.goal)) == ("wrong_object", "grasp", 0)


def test_what_the_task_knows_comes_first(story):
    story = story.reach().close().lift().carry(0.3).drop()
    story.blame = "spilled"
    assert told(story)[0] == "spilled"


def test_a_contact_lost_for_two_steps_is_no_drop():
    story = Story(CUBE).reach().close().lift().carry(0.5)
    for index in (-4, -3):
        story.forget_contacts(index)
    assert told(story) == ("out_of_time", "carry", 0)
    for index in (-6, -5):
        story.forget_contacts(index)
    assert drops_in(story.course()) == 1


def test_every_reason_is_known(story):
    reasons = {
        "never_reached",
        "missed_grasp",
        "knocked_over",
        "wrong_object",
        "dropped",
        "missed_goal",
        "spilled",
        "not_released",
        "out_of_time",
    }
    assert reasons == set(REASONS)
