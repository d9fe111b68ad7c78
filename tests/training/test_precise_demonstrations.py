"""Demonstrations of the graded tasks: what they are numbered, which scenes they are of, that they repeat."""

import numpy as np
import pytest

from headless_eval.sims.droid.mujoco.simulator import SceneModel, Slot
from headless_eval.sims.droid.precise.language import WORDINGS
from headless_eval.sims.droid.precise.scenes import FAMILIES, SCENES
from headless_eval.sims.perturbation import WORLD
from headless_eval.training import precise_demonstrations
from headless_eval.training.expert import Expert
from headless_eval.training.expert_press import PressExpert
from headless_eval.training.precise_demonstrations import PERTURBED_TO, demonstrate, expert_of, number_of
from headless_eval.training.sources import SOURCES

PRESS = [scene for scene in SCENES if scene.family == "press"]


def test_an_observation_is_numbered_by_what_the_episode_asks_for():
    sentences = SOURCES["pi0-precise-tiny"].sentences(0)
    assert len(sentences) == len(WORDINGS)
    for scene in SCENES:
        initial = scene.draw(np.random.default_rng(5))
        assert sentences[number_of(scene, initial) - 1][0] == scene.instruction_of(initial)


def test_files_are_one_a_family():
    scenes = SOURCES["pi0-precise-tiny"].scenes
    assert [tasks[0].difficulty.family for tasks in scenes] == [family.family for family in FAMILIES]
    assert [len(tasks) for tasks in scenes] == [len(family.levels) for family in FAMILIES]


def test_demonstrations_repeat_bit_by_bit_and_show_a_perturbed_scene():
    first, second = (demonstrate(PRESS, np.random.default_rng(4), 10, 48) for _ in range(2))
    assert len(first) == len(second) > 5
    for one, other in zip(first, second, strict=True):
        for key in one:
            np.testing.assert_array_equal(one[key], other[key])
    another = demonstrate(PRESS, np.random.default_rng(5), 10, 48)
    corners = [rows[0]["exterior"][:4, :4].mean(axis=(0, 1)) for rows in (first, another)]
    assert np.abs(corners[0] - corners[1]).max() > 3


def test_every_axis_is_perturbed_up_to_a_level():
    generator = np.random.default_rng(0)
    drawn = [dict(precise_demonstrations._perturbation(generator)) for _ in range(200)]
    for axis in WORLD:
        assert {levels.get(axis, 0) for levels in drawn} == {*range(PERTURBED_TO + 1)}


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.family)
def test_each_family_has_its_expert(family):
    scene = next(scene for scene in SCENES if isinstance(scene, family))
    slot = Slot(SceneModel(scene))
    slot.reset(scene.draw(np.random.default_rng(0)))
    wanted = PressExpert if scene.family == "press" else Expert
    assert isinstance(expert_of(slot, np.random.default_rng(0)), wanted)
