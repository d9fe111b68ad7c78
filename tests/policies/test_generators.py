"""Policies that draw from the process's random generators: each episode draws the same whatever runs beside it."""

import random

import numpy as np
import pytest
import torch

from headless_eval.local_policy import LocalPolicy
from headless_eval.policies.generators import SlotGenerators


class Drawing:
    """Draws from all generators of the process, at the start of an episode and in every inference."""

    def __init__(self):
        self.offset = 0.0

    def infer(self, obs):
        drawn = [random.random(), np.random.random(), torch.rand(()).item()]  # noqa: NPY002
        return {"actions": [[*drawn, obs["number"]]]}


class Remembering(Drawing):
    """The same with a history of each slot."""

    def __init__(self):
        self.offsets = {}

    def reset(self, slots=None):
        for slot in slots or ():
            self.offsets[slot] = np.random.random()  # noqa: NPY002

    def infer_batch(self, observations, slots):
        return [
            {"actions": [[*super(Remembering, self).infer(obs)["actions"][0], self.offsets[slot]]]}
            for obs, slot in zip(observations, slots, strict=True)
        ]


def chunks(local, slots):
    replies = local.infer_batch([{"number": slot} for slot in slots], slots=slots)
    return [reply["actions"].tolist() for reply in replies]


@pytest.mark.parametrize("make", [Drawing, Remembering])
def test_an_episode_draws_what_its_seed_says_alone_or_beside_others(make):
    with LocalPolicy(make(), "drawing") as local:
        assert local.draws
        local.reset([0], [11])
        alone = [chunks(local, [0]) for _ in range(3)]
        assert alone[0] != alone[1]
        local.reset([0], [11])
        local.reset([1], [12])
        beside = [chunks(local, [0, 1]) for _ in range(2)]
        local.reset([1], [11])  # the next episode in slot 1; that in slot 0 goes on
        beside.append(chunks(local, [1, 0])[::-1])
        assert [[one[0]] for one in beside] == alone
        assert beside[2][1][0][:3] == alone[0][0][0][:3]


def test_the_process_draws_as_if_nothing_had_run():
    def drawn():
        return random.random(), np.random.random(), torch.rand(()).item()  # noqa: NPY002

    def seed():
        random.seed(1), np.random.seed(2), torch.manual_seed(3)  # noqa: NPY002

    seed()
    expected = drawn()
    seed()
    with LocalPolicy(Remembering(), "drawing") as local:
        local.reset([0], [5])
        chunks(local, [0])
    assert drawn() == expected


def test_without_a_seed_the_process_generators_are_used():
    slots = SlotGenerators()
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    with slots.of(0):
        assert torch.equal(torch.rand(2), expected)
    slots.seed(0, 4)
    slots.forget([0])
    torch.manual_seed(3)
    with slots.of(0):
        assert torch.equal(torch.rand(2), expected)


def test_policies_with_noise_or_without_randomness_do_not_draw():
    class Stateless(Drawing):
        stateless = True

    class Noisy(Drawing):
        noise_shape = (1, 2)

    for make in (Stateless, Noisy):
        with LocalPolicy(make(), "plain") as local:
            assert not local.draws
