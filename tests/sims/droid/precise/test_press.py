"""Family ``press``: which button is named, what counts as pressed, and what ends an episode."""

from collections import Counter

import numpy as np
import pytest

from headless_eval.contracts.seeding import TrialSeed
from headless_eval.sims.droid.mujoco.precise import PreciseMujoco
from headless_eval.sims.droid.mujoco.simulator import SceneModel, Slot
from headless_eval.sims.droid.precise.language import COLOURS
from headless_eval.sims.droid.precise.press import NEAR, TOP
from headless_eval.sims.droid.precise.scenes import SCENES
from headless_eval.sims.droid.tabletop import PAD_REACH, Situation
from headless_eval.sims.registry import find_tasks
from headless_eval.training.expert_press import PressExpert

EASY, *_, HARD = (scene for scene in SCENES if scene.family == "press")


def _over(scene, initial, colour, off=(0.0, 0.0, 0.0), gripper=1.0):
    """The situation with the closed pads' tips on a button's top, or off it."""
    spot = initial.poses[COLOURS.index(colour), :3] + np.array([0.0, 0.0, TOP + PAD_REACH]) + off
    return Situation(initial.poses, np.zeros((4, 6)), spot, gripper)


def _other(initial):
    return next(colour for colour in COLOURS if colour != COLOURS[initial.choice])


def test_colours_and_places_are_drawn():
    drawn = [HARD.draw(TrialSeed(7, HARD.id, episode).initial_state()) for episode in range(200)]
    named = Counter(COLOURS[state.choice] for state in drawn)
    assert {*named} == {*COLOURS}
    assert min(named.values()) > 30
    assert all(HARD.instruction_of(state) == f"press the {COLOURS[state.choice]} button" for state in drawn)
    farthest = Counter(int(state.poses[:, :2].sum(1).argmax()) for state in drawn)
    assert min(farthest[colour] for colour in range(4)) > 30


@pytest.mark.parametrize("scene", [EASY, HARD], ids=lambda scene: scene.key)
def test_the_named_button_has_to_be_met_within_its_radius_closed_and_twice(scene):
    initial = scene.draw(np.random.default_rng(0))
    named, radius = COLOURS[initial.choice], scene.level / 2000

    def solved(**place):
        tracker = scene.tracker(initial)
        return [tracker.update(_over(scene, initial, named, **place)) for _ in range(3)]

    assert solved() == [False, True, True]
    assert solved(off=(0.9 * radius, 0.0, 0.0))[-1]
    assert not solved(off=(1.1 * radius, 0.0, 0.0))[-1]
    assert not solved(off=(0.0, 0.0, 1.5 * NEAR))[-1]
    assert not solved(gripper=0.5)[-1]


def test_pressing_another_button_ends_the_episode_for_good():
    initial = EASY.draw(np.random.default_rng(0))
    tracker = EASY.tracker(initial)
    named, other = COLOURS[initial.choice], _other(initial)
    assert not tracker.update(_over(EASY, initial, other))
    assert not tracker.over
    assert not tracker.update(_over(EASY, initial, other))
    assert tracker.over
    assert tracker.pressed == COLOURS.index(other)
    assert not any(tracker.update(_over(EASY, initial, named)) for _ in range(3))


def test_after_the_named_button_another_one_changes_nothing():
    initial = EASY.draw(np.random.default_rng(0))
    tracker = EASY.tracker(initial)
    for _ in range(2):
        tracker.update(_over(EASY, initial, COLOURS[initial.choice]))
    assert all(tracker.update(_over(EASY, initial, _other(initial))) for _ in range(3))
    assert not tracker.over


def test_the_expert_presses_the_named_button_and_a_wrong_one_ends_the_episode():
    model = SceneModel(HARD)
    for wrong in (False, True):
        slot = Slot(model)
        initial = HARD.draw(np.random.default_rng(2))
        slot.reset(initial)
        expert = PressExpert(slot, np.random.default_rng(0))
        if wrong:
            expert._spot = initial.poses[(initial.choice + 1) % 4, :3] + np.array([0.0, 0.0, TOP + PAD_REACH])
        solved = False
        for _ in range(80):
            solved = slot.step(expert.action())
            if solved or slot.over:
                break
        assert (solved, slot.over) == (not wrong, wrong)
        assert (slot.tracker.measures()["final_error_mm"] < 5) != wrong


def test_the_simulator_says_what_an_episode_asks_for():
    simulator = PreciseMujoco(num_slots=1, image_size=32)
    (task,) = find_tasks(PreciseMujoco.tasks, ["press_20mm"])
    told = set()
    for episode in range(8):
        simulator.reset(0, task, TrialSeed(3, task.id, episode))
        told.add(simulator.instruction(0))
    assert told <= {f"press the {colour} button" for colour in COLOURS}
    assert len(told) > 1
    simulator.close()
