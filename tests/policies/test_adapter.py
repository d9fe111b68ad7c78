"""Policies with a history, without one, and what they are told of episodes."""

import numpy as np
import pytest

from headless_eval.errors import UserError
from headless_eval.local_policy import LocalPolicy
from headless_eval.policies.adapter import Adapter


class Counting:
    """Keeps a history of each slot: its action is the sum of what it has seen since the episode's start."""

    stateless = False
    robot = "droid"
    image_size = 32
    open_loop_horizon = 2
    noise_shape = None

    def __init__(self):
        self.sums = {}

    def reset(self, slots=None):
        for slot in list(self.sums) if slots is None else slots:
            self.sums.pop(slot, None)

    def infer(self, obs):
        raise AssertionError("it is told the slot")

    def infer_batch(self, observations, noise, slots):
        assert noise is None
        replies = []
        for obs, slot in zip(observations, slots, strict=True):
            self.sums[slot] = self.sums.get(slot, 0) + obs["number"]
            replies.append({"actions": [[self.sums[slot]]]})
        return replies


class PlainCounting:
    """The same as one wrote it for one episode at a time."""

    def __init__(self):
        self.sum = 0

    def reset(self):
        self.sum = 0

    def infer(self, obs):
        self.sum += obs["number"]
        return {"actions": [[self.sum]]}


def of(replies):
    return [reply["actions"].item() for reply in replies]


def numbers(*values):
    return [{"number": value} for value in values]


def test_episodes_in_several_slots_keep_their_own_history():
    with LocalPolicy(Counting(), "counting") as local:
        assert (local.stateless, local.max_slots, local.batch) == (False, None, 1)
        assert (local.robot, local.image_size, local.open_loop_horizon) == ("droid", 32, 2)
        local.reset([0])
        local.reset([1])
        assert of(local.infer_batch(numbers(1, 10), slots=[0, 1])) == [1, 10]
        assert of(local.infer_batch(numbers(1, 10), slots=[0, 1])) == [2, 20]
        local.reset([1])  # an episode begins there; that in slot 0 goes on
        assert of(local.infer_batch(numbers(10, 1), slots=[1, 0])) == [10, 3]
        local.reset()
        assert of(local.infer_batch(numbers(1, 10), slots=[0, 1])) == [1, 10]
        # Without slots all are of one episode.
        local.reset()
        assert of(local.infer_batch(numbers(1, 2, 3))) == [1, 3, 6]


def test_a_plain_history_is_used_for_one_episode_at_a_time():
    with LocalPolicy(PlainCounting(), "plain") as local:
        assert (local.stateless, local.max_slots) == (False, 1)
        for _ in range(2):
            local.reset([0])
            assert of(local.infer_batch(numbers(1), slots=[0])) == [1]
            assert of(local.infer_batch(numbers(2), slots=[0])) == [3]
        with pytest.raises(UserError, match=r"'plain' keeps a history .* use one slot \(--slots 1\)"):
            local.infer_batch(numbers(1, 2), slots=[0, 1])
        with pytest.raises(UserError, match="stateless = True"):
            local.reset([1])
        local.reset()
        assert of(local.infer_batch(numbers(1), slots=[1])) == [1]


def test_no_history_without_a_reset_and_none_where_it_is_declared():
    class Memoryless:
        def infer(self, obs):
            return {"actions": [[obs["number"]]]}

    class Declared(PlainCounting):
        stateless = True

    assert Adapter(Memoryless(), "memoryless").max_slots is None
    assert Adapter(Declared(), "declared").max_slots is None


class Deterministic:
    """Takes no noise, and may be batched."""

    stateless = True

    def __init__(self):
        self.batches = []

    def infer(self, obs):
        raise AssertionError("it is asked in batches")

    def infer_batch(self, observations):
        self.batches.append([obs["number"] for obs in observations])
        return [{"actions": [[obs["number"]]]} for obs in observations]


def test_a_deterministic_policy_is_batched():
    with LocalPolicy(Deterministic(), "deterministic", max_batch=4, threads=1) as local:
        local.infer_batch(numbers(0))
        local.policy.batches.clear()
        assert of(local.infer_batch(numbers(1, 2, 3, 4, 5), slots=range(5))) == [1, 2, 3, 4, 5]
        assert local.policy.batches == [[1, 2, 3, 4], [5, 5, 5, 5]]


class OneArray:
    """Gives every reply in the same memory, as compiled models do."""

    stateless = True
    noise_shape = (1, 2)

    def __init__(self):
        self.actions = np.zeros((4, 1, 2), np.float32)

    def infer(self, obs, noise):
        self.actions[0] = noise
        return {"actions": self.actions[0]}


class OneArrayForBatches(OneArray):
    def infer_batch(self, observations, noise):
        self.actions[:] = noise
        return [{"actions": chunk} for chunk in self.actions]


@pytest.mark.parametrize("make", [OneArray, OneArrayForBatches])
def test_replies_are_copies(make, caplog):
    noise = np.arange(18, dtype=np.float32).reshape(9, 1, 2)
    with LocalPolicy(make(), "one array", max_batch=4, threads=1) as local:
        replies = local.infer_batch(numbers(*range(9)), noise)
        np.testing.assert_array_equal([reply["actions"] for reply in replies], noise)
        assert local.batch == (4 if make is OneArrayForBatches else 1)
    assert not caplog.text
