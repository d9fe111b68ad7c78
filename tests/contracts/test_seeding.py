"""Seeds of trials: streams of their own, whose numbers never change."""

from dataclasses import replace

import pytest

from headless_eval.contracts.seeding import TrialSeed
from headless_eval.contracts.simulator import Task

TASK = Task(1, "one", "One", "reach one", 30)


def test_what_perturbs_an_episode_is_drawn_from_a_stream_of_its_own():
    seed = TrialSeed(7, 1, 0)
    drawn = seed.perturbation().random(4).tolist()
    assert drawn == seed.perturbation().random(4).tolist()
    assert drawn != seed.initial_state().random(4).tolist()
    assert drawn != seed.perturbation(1).random(4).tolist()
    assert drawn != TrialSeed(7, 1, 1).perturbation().random(4).tolist()


def test_the_numbers_of_the_streams_are_those_of_earlier_runs():
    seed = TrialSeed(7, 1, 0)
    assert seed.initial_state().random() == pytest.approx(0.6357753349216418, abs=1e-15)
    assert seed.environment_seed() == 2152740029
    assert seed.policy_seed() == 1356486118


def test_a_perturbed_task_is_seeded_as_the_plain_one():
    perturbed = replace(TASK, id=1234, key="one@light=2", perturbation=(("light", 2),), seeded_as=TASK.id)
    assert perturbed.trial_seed(7, 3) == TASK.trial_seed(7, 3) == TrialSeed(7, 1, 3)
