"""Conformance of policies: a sound one passes, and each test catches the twin that breaks it."""

import numpy as np
import pytest
import torch

from headless_eval.local_policy import LocalPolicy
from headless_eval.policies.checks import FAILED, OK
from headless_eval.runs.conformance.policy import examine_policy


class Sound:
    robot = "droid"
    stateless = True

    def infer(self, obs):
        here = np.concatenate([obs["observation/joint_position"], obs["observation/gripper_position"]])
        return {"actions": np.tile(here, (8, 1)).astype(np.float32)}


class Draws(Sound):
    def infer(self, obs):
        return {"actions": np.random.default_rng().normal(size=(8, 8)).astype(np.float32)}


class TooShort(Sound):
    def infer(self, obs):
        return {"actions": np.zeros((3, 8), np.float32)}


class NotFinite(Sound):
    def infer(self, obs):
        return {"actions": np.full((8, 8), np.nan, np.float32)}


class Writes(Sound):
    def infer(self, obs):
        obs["observation/joint_position"] = obs["observation/joint_position"] + 1
        return super().infer(obs)


class OtherShapes(Sound):
    def infer(self, obs):
        steps = 8 + int(abs(obs["observation/joint_position"][0]) * 1000) % 3
        return {"actions": np.tile(super().infer(obs)["actions"][:1], (steps, 1))}


class MixesRows(Sound):
    """Replies to each observation of a batch with the mean over the batch."""

    def infer_batch(self, observations, noise=None, slots=None):
        mean = np.mean([self.infer(obs)["actions"] for obs in observations], 0)
        return [{"actions": mean.astype(np.float32)} for _ in observations]


class Remembers(Sound):
    """Says that it is stateless, and is not."""

    last = np.float32(0)

    def infer(self, obs):
        actions = super().infer(obs)["actions"]
        reply, self.last = actions + self.last, actions[0, 0]
        return {"actions": reply}


class OneHistory(Sound):
    """Takes slots, and mixes their histories."""

    stateless = False

    def __init__(self):
        self.seen = 0

    def reset(self, slots=None):
        self.seen = 0

    def infer(self, obs):
        return self.infer_batch([obs])[0]

    def infer_batch(self, observations, noise=None, slots=None):
        replies = []
        for obs in observations:
            self.seen += 1
            replies.append({"actions": super().infer(obs)["actions"] + self.seen})
        return replies


class Histories(OneHistory):
    """Keeps a history for each slot."""

    def __init__(self):
        self.counts = {}

    def reset(self, slots=None):
        for slot in list(self.counts) if slots is None else slots:
            self.counts[slot] = 0

    def infer_batch(self, observations, noise=None, slots=None):
        replies = []
        for obs, slot in zip(observations, slots or [0] * len(observations), strict=True):
            self.counts[slot] = self.counts.get(slot, 0) + 1
            replies.append({"actions": Sound.infer(self, obs)["actions"] + self.counts[slot]})
        return replies


class OtherEachTime(Sound):
    loaded = 0

    def __init__(self):
        type(self).loaded += 1
        self.offset = self.loaded

    def infer(self, obs):
        return {"actions": super().infer(obs)["actions"] + self.offset}


class WithModel(Sound):
    def __init__(self):
        torch.manual_seed(0)
        self.model = torch.nn.Linear(8, 8)

    def infer(self, obs):
        here = torch.from_numpy(super().infer(obs)["actions"])
        with torch.no_grad():
            return {"actions": self.model(here).numpy()}


class KeepsRounded(WithModel):
    """Goes on with a copy of the rounded weights after the precision has ended."""

    def __init__(self):
        super().__init__()
        self.exact, self.rounded = self.model.weight.detach().clone(), None

    def infer(self, obs):
        now = self.model.weight.detach()
        if self.rounded is None and not torch.equal(now, self.exact):
            self.rounded = now.clone()
        weight = now if self.rounded is None else self.rounded
        return {"actions": (torch.from_numpy(Sound.infer(self, obs)["actions"]) @ weight.T).numpy()}


def examined(policy):
    return {one.name: one.status for one in examine_policy(lambda: LocalPolicy(policy(), "mine"), None)}


@pytest.mark.parametrize("policy", [Sound, Histories, WithModel])
def test_sound_policies_pass(policy):
    found = examined(policy)
    assert FAILED not in found.values()
    assert found["episodes"] == (OK if policy is Histories else "skipped")
    assert found["precision"] == (OK if policy is WithModel else "skipped")


@pytest.mark.parametrize(
    ("policy", "test"),
    [
        (Draws, "determinism"),
        (TooShort, "reply"),
        (NotFinite, "reply"),
        (Writes, "observations"),
        (OtherShapes, "shapes"),
        (MixesRows, "batches"),
        (Remembers, "batches"),
        (OneHistory, "episodes"),
        (KeepsRounded, "precision"),
        (OtherEachTime, "loaded anew"),
    ],
)
def test_broken_policies_are_caught(policy, test):
    assert examined(policy)[test] == FAILED
