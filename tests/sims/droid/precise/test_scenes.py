"""Every graded scene: names, levels, bodies and initial states."""

from itertools import combinations

import numpy as np
import pytest

from headless_eval.contracts.seeding import TrialSeed
from headless_eval.sims.droid.precise.family import GoalScene
from headless_eval.sims.droid.precise.language import WORDINGS
from headless_eval.sims.droid.precise.scenes import FAMILIES, SCENES, TASKS
from headless_eval.sims.droid.tabletop import TABLE
from headless_eval.sims.registry import find_suite, find_tasks

each_scene = pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.key)


def test_the_suite_has_every_level_of_every_family():
    tasks = find_suite("droid_precise").load_tasks()
    assert len(tasks) == sum(len(family.levels) for family in FAMILIES)
    for name in ("id", "key", "name"):
        assert len({getattr(task, name) for task in tasks}) == len(tasks)
    (insert,) = find_tasks(tasks, ["insert_2mm"])
    assert (insert.difficulty.family, insert.difficulty.value, insert.difficulty.unit) == (
        "insert",
        2.0,
        "mm",
    )
    assert insert.difficulty.harder == "less"
    assert find_tasks(tasks, ["carry_9deg"])[0].difficulty.unit == "degrees"


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.family)
def test_levels_go_from_easy_to_hard_and_the_default_is_one_of_them(family):
    assert list(family.levels) == sorted(family.levels, reverse=family.harder == "less")
    assert family.default in family.levels
    assert len({task.instruction for task in TASKS if task.difficulty.family == family.family}) == 1


def test_no_two_families_have_the_same_instruction():
    assert len({family.says for family in FAMILIES}) == len(FAMILIES)


@each_scene
def test_what_an_episode_asks_for_is_what_is_trained(scene):
    initial = scene.draw(np.random.default_rng(0))
    assert scene.instruction_of(initial) in {wording.instruction for wording in WORDINGS.values()}


@each_scene
def test_bodies_start_apart_on_the_table_and_the_same_for_the_same_seed(scene):
    drawn = [scene.draw(TrialSeed(7, scene.id, episode).initial_state()) for episode in range(60)]
    again = scene.draw(TrialSeed(7, scene.id, 3).initial_state())
    np.testing.assert_array_equal(again.numbers, drawn[3].numbers)
    poses = np.stack([state.poses for state in drawn])
    assert poses.shape[1] == len(scene.bodies)
    for (one, body), (other, another) in combinations(enumerate(scene.bodies), 2):
        apart = np.hypot(*(poses[:, one, :2] - poses[:, other, :2]).T)
        assert (apart > body.footprint + another.footprint).all()
    reach = np.hypot(poses[..., 0], poses[..., 1])
    assert (reach > 0.3).all()
    assert (reach < 0.75).all()
    for body, places in zip(scene.bodies, np.moveaxis(poses, 1, 0), strict=True):
        beyond = np.abs(places[:, :2] - TABLE.pos[:2]) + body.footprint
        assert (beyond < TABLE.size[:2]).all(), body.name


@pytest.mark.parametrize(
    "scene", [scene for scene in SCENES if isinstance(scene, GoalScene)], ids=lambda scene: scene.key
)
def test_the_target_can_be_grasped_and_the_goal_stands_fast(scene):
    assert not scene.target.fixed
    assert scene.target.mass > 0
    assert 0 < scene.target.grasp_width < 0.07  # the gripper's stroke, less room to close in
    assert scene.target.volume
    assert scene.goal.fixed
    assert not scene.tracker(scene.draw(np.random.default_rng(0))).measures()
