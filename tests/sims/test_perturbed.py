"""What is put around a simulator, so that a policy is told and shown something else."""

from types import SimpleNamespace

import numpy as np
import pytest

from headless_eval.contracts.robots.droid import DROID
from headless_eval.contracts.simulator import StepResult, Task
from headless_eval.sims.perturbation import perturbed
from headless_eval.sims.perturbed import PerturbedSimulator

TASK = Task(1, "one", "One", "reach one", 30)
PARAPHRASES = {
    "reach one": (("touch one", "get to one"), *[("another",)] * 4),
    "reach two": [("touch two",)] * 5,
}


@pytest.fixture
def inner():
    def observe(slots):
        return [DROID.example_observation() | {"prompt": TASK.instruction} for _ in slots]

    return SimpleNamespace(
        reset=lambda slot, task, seed: None,
        observe=observe,
        step=lambda actions: {slot: StepResult(False) for slot in actions},
        num_slots=2,
    )


def begun(inner, *perturbation, episode=0):
    simulator = PerturbedSimulator(inner, DROID, PARAPHRASES)
    task = perturbed(TASK, perturbation)
    simulator.reset(0, task, task.trial_seed(7, episode))
    return simulator


def test_a_plain_task_is_left_alone(inner):
    simulator = begun(inner)
    assert simulator.observe([0])[0]["prompt"] == "reach one"
    assert (simulator.instruction(0), simulator.perturbation(0), simulator.num_slots) == (None, {}, 2)


def test_a_paraphrase_is_drawn_once_an_episode_told_and_recorded(inner):
    said = set()
    for episode in range(20):
        simulator = begun(inner, ("language", 1), episode=episode)
        (seen,) = simulator.observe([0])
        assert seen["prompt"] == simulator.instruction(0)
        assert (
            PARAPHRASES["reach one"][0][int(simulator.perturbation(0)["language.number"])] == seen["prompt"]
        )
        said.add(seen["prompt"])
    assert said == {"touch one", "get to one"}


def test_the_paraphrase_is_of_what_this_very_episode_asks_for(inner):
    inner.instruction = lambda slot: "reach two"
    assert begun(inner, ("language", 3)).instruction(0) == "touch two"
    assert begun(inner).instruction(0) == "reach two"


def test_noise_goes_on_with_the_steps_and_ends_with_the_episode(inner):
    simulator = begun(inner, ("noise", 3))
    key = DROID.cameras[0].key
    first, again = (simulator.observe([0])[0][key] for _ in range(2))
    assert np.array_equal(first, again)
    assert first.any()
    simulator.step({0: np.zeros(8)})
    assert not np.array_equal(first, simulator.observe([0])[0][key])
    assert simulator.perturbation(0)["noise.pixels"] == 8
    simulator.reset(0, TASK, TASK.trial_seed(7, 0))
    assert not simulator.observe([0])[0][key].any()


def test_what_the_simulator_drew_is_recorded_too(inner):
    inner.perturbation = lambda slot: {"light.factor": 0.6}
    drawn = begun(inner, ("light.dim", 0.6), ("noise.blur", 1.0)).perturbation(0)
    assert (drawn["light.factor"], drawn["noise.blur"]) == (0.6, 1.0)
