"""Trials: their order, names and seeds."""

from dataclasses import replace

from headless_eval.contracts.simulator import Task
from headless_eval.contracts.variant import Variant
from headless_eval.quant.precision import Precision
from headless_eval.rollout.trials import make_trials

TASKS = (Task(1, "one", "One", "reach one", 30), Task(2, "two", "Two", "reach two", 9))
VARIANTS = (
    Variant(Precision()),
    Variant(Precision("int8", "both")),
    Variant(Precision(), {"flow_steps": 5}),
    Variant(Precision(), {"engine": "eager"}, label="plain"),
)


def test_every_episode_of_every_task_for_every_variant_in_order():
    trials = make_trials(VARIANTS, TASKS, 2, seed=7)
    names = ("float32", "int8_both", "float32_flow_steps_5", "plain")
    assert [trial.key for trial in trials] == [
        (name, task, episode) for name in names for task in (1, 2) for episode in (0, 1)
    ]


def test_the_seed_does_not_contain_the_variant():
    trials = make_trials(VARIANTS, TASKS, 2, seed=7)
    seeds = [[trial.seed for trial in trials if trial.variant == variant] for variant in VARIANTS]
    assert all(found == seeds[0] for found in seeds)
    assert len(set(seeds[0])) == 4


def test_a_perturbed_task_has_the_seeds_of_the_plain_one():
    perturbed = replace(TASKS[0], id=99, key="one@light=2", perturbation=(("light", 2),), seeded_as=1)
    plain, changed = make_trials(VARIANTS[:1], (TASKS[0], perturbed), 1, seed=7)
    assert plain.seed == changed.seed
    assert plain.key != changed.key
