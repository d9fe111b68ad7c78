"""Numbers of an episode beside success."""

import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import numpy as np
import pytest
from episodes import Story
from situations import settled

from headless_eval.contracts.simulator import EpisodeOutcome
from headless_eval.results.outcomes import QUANTITIES, REASONS
from headless_eval.sims.droid.mujoco.model import robot_mjcf
from headless_eval.sims.droid.outcomes import UNITS, closings_of, outcome_of, touched_by_robot
from headless_eval.sims.droid.precise.scenes import SCENES as GRADED
from headless_eval.sims.droid.scenes import SCENES
from headless_eval.sims.droid.tabletop import ARM_LIMITS, ELSE, ROBOT


def outcome(story, success=False):
    return outcome_of(story.scene.bodies, story.tracker(), story.situations, success)


def test_a_dropped_cube():
    story = Story(SCENES[0]).reach().close().lift().carry(0.5).drop()
    found = outcome(story)
    assert (found.reason, found.phase) == ("dropped", "carry")
    assert found.metrics["drops"] == found.metrics["grasp_attempts"] == 1
    assert 0 < found.metrics["smallest_distance_mm"] < found.metrics["final_error_mm"] + 1
    assert found.metrics["collisions"] == 0
    # The fourth joint cannot stand at 0, where all joints of this episode are.
    assert found.metrics["joint_limit_gap_rad"] == pytest.approx(-0.0698)


def test_a_success_has_no_reason():
    found = outcome(Story(SCENES[0]).reach().close().lift().carry(1.0).drop(inside=True), success=True)
    assert (found.reason, found.phase) == (None, "place")
    assert found.metrics["final_error_mm"] < 20


def test_what_is_not_told_is_left_out():
    story = Story(SCENES[0], contacts=False).reach()
    story.situations = [replace(now, joints=None) for now in story.situations]
    assert set(outcome(story).metrics) == {
        "final_error_mm",
        "smallest_distance_mm",
        "drops",
        "grasp_attempts",
    }


def test_an_episode_without_a_step_has_no_outcome():
    scene = SCENES[0]
    tracker = scene.tracker(scene.draw(np.random.default_rng(0)))
    assert outcome_of(scene.bodies, tracker, [], False) == EpisodeOutcome()


def test_collisions_are_counted_when_they_begin():
    story = Story(SCENES[0]).wait(9)
    table, container, target = (ROBOT, ELSE), (ROBOT, 1), (0, ROBOT)
    touches = [[], [table], [table], [], [table, container], [container], [target], [target, (3, ROBOT)]]
    for index, pairs in enumerate(touches):
        contacts = np.array([(1, ELSE), *pairs])
        story.situations[index] = replace(story.situations[index], contacts=contacts)
    assert outcome(story).metrics["collisions"] == 4
    touched = touched_by_robot(story.situations, len(SCENES[0].bodies))
    assert touched[7].tolist() == [True, False, False, True, False]
    assert touched[4].tolist() == [False, True, False, False, True]


@pytest.mark.parametrize(
    ("positions", "closings"),
    [
        ([0.0, 0.1, 0.2, 0.5, 0.6], [2]),  # one movement is one closing
        ([0.0, 0.3, 0.2, 0.3, 0.25, 0.4], [1]),  # a quiver of the fingers is no closing
        ([0.0, 0.5, 0.0, 0.5], [1, 3]),
        ([0.5, 0.2, 0.0, 0.1], []),
        ([0.9, 0.9], []),
    ],
)
def test_closings_of_the_gripper(positions, closings):
    assert closings_of(positions) == closings


def test_a_gripper_that_closes_elsewhere_attempts_no_grasp():
    assert outcome(Story(SCENES[0]).close(empty=True).open().reach()).metrics["grasp_attempts"] == 0
    story = Story(SCENES[0]).reach().close(empty=True).open().reach().close(empty=True)
    assert outcome(story).metrics["grasp_attempts"] == 2


def test_limits_are_the_robots():
    joints = ElementTree.fromstring(robot_mjcf()).iter("joint")
    by_name = {joint.get("name"): joint.get("range", "-2.8973 2.8973") for joint in joints}
    found = [tuple(map(float, by_name[f"panda_joint{number}"].split())) for number in range(1, 8)]
    assert np.array(found).T.tolist() == [list(row) for row in ARM_LIMITS]


@pytest.mark.parametrize(("number", "reason"), [(0, "wrong_object"), (None, "missed_goal")])
def test_a_button_that_was_not_pressed(number, reason):
    scene = next(scene for scene in GRADED if scene.family == "press")
    initial = scene.draw(np.random.default_rng(0))
    tracker = scene.tracker(initial)
    other = (initial.choice + 1) % 4 if number == 0 else initial.choice
    above = 0.05 if number is None else 0.03
    now = settled(initial.poses[0], initial.poses[1], initial.poses[other, :3] + [0, 0, above + 0.024], 1.0)
    situations = [replace(now, poses=initial.poses, velocities=np.zeros((4, 6)))] * 3
    for one in situations:
        tracker.update(one)
    found = outcome_of(scene.bodies, tracker, situations, False)
    assert (found.reason, found.phase) == (reason, "press" if number is None else "approach")


@pytest.mark.parametrize("scene", [*SCENES, *GRADED], ids=lambda scene: scene.key)
def test_every_scene_has_outcomes_with_units_and_reasons_that_are_known(scene):
    story = Story(scene).wait(5)
    if not scene.bodies[0].fixed:
        story = story.reach().close().lift().carry(0.4).drop()
    found = outcome(story)
    assert found.reason in REASONS
    assert set(found.metrics) <= set(UNITS) <= set(QUANTITIES)
    assert all(np.isfinite(value) for value in found.metrics.values())
    assert all(QUANTITIES[name].unit == unit for name, unit in UNITS.items())
