"""What happened in an episode, step by step."""

import numpy as np
import pytest
from episodes import HEIGHT, Story

from headless_eval.sims.droid.course import bridged
from headless_eval.sims.droid.scenes import SCENES


@pytest.mark.parametrize(
    ("flags", "filled"),
    [
        ("..11..11..", "..111111.."),
        ("1...1", "1...1"),
        ("1.1..1...1", "111111...1"),
        ("....", "...."),
        ("111", "111"),
        ("..1.", "..1."),
    ],
)
def test_gaps_of_up_to_two_steps_are_bridged(flags, filled):
    found = bridged(np.array([flag == "1" for flag in flags]))
    assert "".join("1" if flag else "." for flag in found) == filled


def test_the_hand_is_near_before_it_holds_and_holds_before_it_lifts():
    course = Story(SCENES[0]).reach().close().lift().carry(1.0).course()
    first = [int(np.argmax(flags)) for flags in (course.near, course.held, course.lifted, course.over_goal)]
    assert first == sorted(first)
    assert 0 < first[0] < first[1] < first[2] < first[3]
    assert course.over_goal[-1]
    assert course.at_goal[-1]


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.key)
def test_the_distance_is_that_of_the_middles(scene):
    story = Story(scene).reach().close().lift()
    course = story.course()
    interior = scene.container.interior
    apart = [*(np.array([0.45, -0.15]) - story.goal), 0.0]
    middle = np.mean(scene.target.volume, axis=0)
    apart = np.array(apart) + middle + [0, 0, HEIGHT] - [0, 0, (interior.floor + interior.rim) / 2]
    assert course.distance[-1] == pytest.approx(np.linalg.norm(apart))
    assert course.distance[-1] > course.distance[0]


def test_a_hand_around_the_target_that_touches_nothing_does_not_hold_it():
    story = Story(SCENES[0]).reach().close()
    assert story.course().held[-1]
    for index in range(len(story.situations)):
        story.forget_contacts(index)
    assert not story.course().held.any()
