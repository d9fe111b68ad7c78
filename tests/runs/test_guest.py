"""``evaluate`` as a guest: within a training loop, in a thread, in a process that has settings of its own."""

import os
import random
import signal
import threading
import time
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from headless_eval import LocalPolicy, Precision, UserError, Variant, evaluate, load_policy
from headless_eval.contracts.robots import ROBOTS
from headless_eval.runs.guest import lent

SHORT = {"tasks": ["1"], "episodes": 1, "videos": "none"}


class Student(nn.Module):
    """A policy that is trained, with all that depends on the mode: dropout, batch statistics, a frozen part."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Dropout(0.5), nn.Linear(16, 8))
        self.frozen = nn.Linear(8, 8).requires_grad_(False)
        self.scale = None
        self.gain = 1

    def configure(self, gain=1):
        self.gain = gain

    def train(self, mode=True):
        super().train(mode)
        self.frozen.eval()
        return self

    def forward(self, x):
        if self.scale is None:  # kept from the first call on, which may be one of the evaluation
            self.scale = torch.full((8,), 0.1)
        return self.frozen(self.body(x)) * self.scale * self.gain

    def infer(self, obs):
        joints = np.concatenate([obs["observation/joint_position"], obs["observation/gripper_position"]])
        return {"actions": self(torch.from_numpy(joints).float()[None]).repeat(8, 1)}


def trained(evaluated):
    """Train for a few steps with random data, evaluating before the second; return losses and weights."""
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    student = Student().train()
    optimizer = torch.optim.Adam(student.parameters(), lr=0.01)
    losses = []
    for step in range(4):
        if step == 1 and evaluated:
            evaluated(student)
        x = torch.randn(8, 8) * random.uniform(1, 2) + torch.from_numpy(np.random.rand(8))  # noqa: NPY002
        loss = student(x.float()).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, student.state_dict()


def process():
    """What a program may have set for itself."""
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    return (
        handlers,
        torch.get_num_threads(),
        torch.is_grad_enabled(),
        dict(os.environ),
        list(warnings.filters),
    )


def test_training_goes_on_as_if_nothing_had_been_evaluated(short_episodes, tmp_path):
    runs = []

    def evaluated(student):
        modes = [part.training for part in student.modules()]
        parameters = list(map(id, student.parameters()))
        gradients = [one.grad.clone() for one in student.parameters() if one.grad is not None]
        before = process()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            run = evaluate(
                student, variants=["float32", "int8_both"], results=tmp_path / str(len(runs)), **SHORT
            )
        assert process() == before
        assert [part.training for part in student.modules()] == modes
        assert list(map(id, student.parameters())) == parameters
        after = [one.grad for one in student.parameters() if one.grad is not None]
        assert all(map(torch.equal, gradients, after))
        runs.append(run)

    losses, weights = trained(evaluated)
    again, same = trained(None)
    assert losses == again
    assert all(torch.equal(weights[name], same[name]) for name in weights)
    assert [record.status for record in runs[0].records()] == ["failure", "failure"]
    # Dropout is off and autocast too: the policy that is evaluated depends on its weights alone.
    trained(evaluated)
    first, second = ([record.actions_sha256 for record in run.records()] for run in runs)
    assert first == second
    assert len(set(first)) == 2


def test_a_thread_draws_nothing_back(short_episodes, tmp_path):
    runs, student = [], Student()
    before = process()
    thread = threading.Thread(
        target=lambda: runs.append(evaluate(student, dtypes=["float32"], results=tmp_path / "run", **SHORT))
    )
    torch.manual_seed(3)
    expected = torch.randn(4).tolist(), torch.randn(4).tolist()
    torch.manual_seed(3)
    thread.start()
    drawn = [torch.randn(4).tolist()]
    thread.join()
    drawn.append(torch.randn(4).tolist())
    assert tuple(drawn) == expected
    assert process() == before
    assert len(runs[0].records()) == 1


def test_a_loaded_policy_is_put_back_as_it_was(short_episodes, tmp_path):
    with LocalPolicy(Student(), "student") as policy:
        policy.set_variant(Variant(Precision("int8", "both"), {"gain": 2}))
        weights = {name: value.clone() for name, value in policy.module.state_dict().items()}
        evaluate(policy, dtypes=["float32"], results=tmp_path / "run", **SHORT)
        assert policy.variant.name == "int8_both_gain_2"
        assert policy.policy.gain == 2
        assert all(torch.equal(weights[name], value) for name, value in policy.module.state_dict().items())


def test_weights_trained_since_are_those_that_run():
    observation = ROBOTS.find("droid").example_observation()
    with load_policy("pi0-droid-tiny", max_batch=1) as policy:
        noise = np.ones(policy.noise_shape, np.float32)
        before = policy.infer(observation, noise)["actions"]  # the engine has packed the weights by now
        with torch.no_grad():
            for parameter in policy.module.parameters():
                parameter.mul_(0.9)
        with lent(policy):
            assert not np.array_equal(policy.infer(observation, noise)["actions"], before)


def test_variants_are_objects_or_texts(short_episodes, tmp_path):
    given = ["float32", Precision("int8", "both"), Variant(Precision(), {"gain": 2}, label="strong")]
    student = Student()
    run = evaluate(student, variants=given, results=tmp_path / "run", **SHORT)
    assert run.variants == ["float32", "int8_both", "strong"]
    assert run.episodes.setting_gain.tolist()[-1] == "2"
    assert len({record.actions_sha256 for record in run.records()}) == 3
    assert evaluate(student, resume=run.path).variants == run.variants


def test_a_setting_that_the_policy_lacks_ends_the_run_before_it_starts(short_episodes, tmp_path):
    with pytest.raises(UserError, match="did you mean gain"):
        evaluate(Student(), variants=["float32+gian=2", "float32"], results=tmp_path / "run", **SHORT)
    assert not (tmp_path / "run").exists()


def test_a_call_that_hangs_is_interrupted_and_the_process_stays(short_episodes, tmp_path, caplog):
    class Sleepy(Student):
        awake = True

        def infer(self, obs):
            if self.awake and (tmp_path / "run").exists():  # the first call of the first episode
                self.awake = False
                until = time.monotonic() + 30
                while time.monotonic() < until:
                    time.sleep(0.01)
            return super().infer(obs)

    settings = SHORT | {"episodes": 2, "slots": 1, "episode_timeout": 1.0}
    run = evaluate(Sleepy(), dtypes=["float32"], results=tmp_path / "run", **settings)
    first, second = run.records()
    assert {first.status, second.status} == {"error", "failure"}
    assert [one.error["type"] for one in (first, second) if one.error] == [
        "headless_eval.loop.EpisodeTimeout"
    ]
    assert "did not return within 1 s" in caplog.text
