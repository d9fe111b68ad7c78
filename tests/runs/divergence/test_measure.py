"""Variants are asked along the baseline's path: on a toy, whose answers are known."""

from pathlib import Path

import numpy as np
import pytest
from record_cases import manifest

from headless_eval.contracts.simulator import StepResult, Task
from headless_eval.contracts.variant import Variant
from headless_eval.local_policy import LocalPolicy
from headless_eval.loop import run_trials
from headless_eval.quant.precision import Precision
from headless_eval.results import RunDirectory
from headless_eval.rollout.trials import make_trials
from headless_eval.runs.divergence.measure import BaselinePath, default_episodes, why_not

HORIZON, NOISE = 4, (6, 3)
TASKS = [Task(1, "one", "One", "reach one", 9), Task(2, "two", "Two", "reach two", 7)]
VARIANTS = [Variant(Precision()), Variant(Precision(), {"gain": 0.5}), Variant(Precision(), {"gain": 2.0})]
HALF, TWICE = (variant.name for variant in VARIANTS[1:])


class Point:
    """A simulator: a point in 3-D that actions push; ``broken`` episodes raise once, in their third step."""

    suite, control_hz, num_slots = "toy", 10.0, 3
    tasks = TASKS

    def __init__(self, broken=(), drift=0.0):
        self.broken, self.drift = set(broken), drift
        self.points, self.trials, self.taken, self.resets = {}, {}, {}, []

    def reset(self, slot, task, seed):
        self.resets.append((task.id, seed.episode))
        self.trials[slot], self.taken[slot] = (task.id, seed.episode), 0
        self.points[slot] = seed.initial_state().standard_normal(3).astype(np.float32) + np.float32(
            self.drift
        )

    def observe(self, slots):
        return [{"point": self.points[slot].copy(), "prompt": "reach"} for slot in slots]

    def step(self, actions):
        results = {}
        for slot, action in actions.items():
            self.taken[slot] += 1
            self.points[slot] += action
            fault = None
            if self.taken[slot] == 3 and self.trials[slot] in self.broken:
                self.broken.discard(self.trials[slot])
                fault = RuntimeError("slipped")
            results[slot] = StepResult(bool(self.points[slot].sum() > 9), fault)
        return results


class Pusher:
    """A policy without a history, whose setting ``gain`` scales its actions."""

    noise_shape, stateless, open_loop_horizon = NOISE, True, HORIZON

    def __init__(self):
        self.gain, self.asked = 1.0, 0

    def configure(self, gain=1.0):
        self.gain = gain

    def infer(self, obs, noise=None):
        self.asked += 1
        return {"actions": np.float32(self.gain) * (noise + np.float32(0.1) * obs["point"])}


@pytest.fixture
def new_run(tmp_path):
    def new(name="run"):
        changes = {"tasks": TASKS, "variants": VARIANTS, "suite": "toy"}
        return RunDirectory.create(tmp_path / name, manifest(**changes))

    return new


def episodes_of(run, simulator, policy, variants=VARIANTS, *, kept=2, number=3, retries=0, **options):
    """Run trials as a run does; return the baseline's path."""
    path = BaselinePath(simulator, policy, run, TASKS, HORIZON, kept, **options)

    def on_episode(record, actions):
        run.append(record, actions)
        path.ended(record, actions)

    run_trials(
        simulator,
        policy,
        make_trials(variants, TASKS, number, 7),
        on_episode=on_episode,
        open_loop_horizon=HORIZON,
        retries=retries,
        on_variant=path.measure,
        on_replan=path.keep,
    )
    return path


def answers(run):
    return {line.trial: run.divergences.actions(line) for line in run.divergences.lines()}


def test_every_variant_answers_with_the_baselines_observations_and_noise(new_run):
    with new_run() as run, LocalPolicy(Pusher(), "pusher") as policy:
        path = episodes_of(run, Point(), policy)
        executed = {record.trial[1:]: run.actions(record) for record in run.records()[:6]}
        found = answers(run)
    assert path.describe() == {}
    places = [(task.id, episode) for task in TASKS for episode in range(2)]
    assert set(found) == {(name, *place) for name in (HALF, TWICE) for place in places}
    for (name, *place), actions in found.items():
        # Only the gain differs, so the answers are the executed actions times it, to the bit.
        gain = {HALF: np.float32(0.5), TWICE: np.float32(2.0)}[name]
        assert np.array_equal(actions, gain * executed[tuple(place)])


def test_asking_changes_no_result(new_run):
    def hashes(run):
        return {record.trial: (record.status, record.actions_sha256) for record in run.records()}

    with LocalPolicy(Pusher(), "pusher") as policy, new_run("with") as one, new_run("without") as other:
        episodes_of(one, Point(), policy)
        episodes_of(other, Point(), policy, kept=0)
        assert hashes(one) == hashes(other)
        assert one.divergences.lines()
        assert not other.divergences.lines()


def test_what_is_not_in_memory_comes_from_simulating_again_and_is_the_same(new_run):
    with LocalPolicy(Pusher(), "pusher") as policy, new_run("one") as one, new_run("two") as two:
        episodes_of(one, Point(), policy)
        first, rest = VARIANTS[:1], VARIANTS[1:]
        episodes_of(two, Point(), policy, first)
        simulator = Point()
        episodes_of(two, simulator, policy, rest)  # a later session, which has no observation
        assert simulator.resets[:4] == [(1, 0), (1, 1), (2, 0), (2, 1)]
        assert len(simulator.resets) == 4 + 2 * 6, "once for both variants"
        small = episodes_of(two, simulator, policy, VARIANTS, most_bytes=100)
        assert small.missing(HALF) == []
        found, again = answers(one), answers(two)
    assert found.keys() == again.keys()
    assert all(np.array_equal(found[trial], again[trial]) for trial in found)


def test_little_memory_makes_no_difference(new_run):
    with LocalPolicy(Pusher(), "pusher") as policy, new_run("one") as one, new_run("two") as two:
        episodes_of(one, Point(), policy)
        simulator = Point()
        episodes_of(two, simulator, policy, most_bytes=30)  # two observations
        assert len(simulator.resets) > 18, "episodes were simulated again"
        found, again = answers(one), answers(two)
    assert found.keys() == again.keys()
    assert all(np.array_equal(found[trial], again[trial]) for trial in found)


def test_errors_are_not_asked_along_and_retried_episodes_once(new_run):
    with LocalPolicy(Pusher(), "pusher") as policy:
        with new_run("lost") as run:
            episodes_of(run, Point(broken=[(1, 0)]), policy)
            assert {trial[1:] for trial in answers(run)} == {(1, 1), (2, 0), (2, 1)}
        with new_run("retried") as run, new_run("whole") as whole:
            episodes_of(run, Point(broken=[(1, 0)]), policy, retries=1)
            episodes_of(whole, Point(), policy)
            found, again = answers(run), answers(whole)
    assert found.keys() == again.keys()
    assert all(np.array_equal(found[trial], again[trial]) for trial in found)


def test_an_episode_that_comes_out_otherwise_is_said(new_run):
    with LocalPolicy(Pusher(), "pusher") as policy, new_run() as run:
        episodes_of(run, Point(), policy, VARIANTS[:1], kept=0)
        path = BaselinePath(Point(drift=9.0), policy, run, TASKS, HORIZON, 1)
        policy.set_variant(VARIANTS[1])
        path.measure(VARIANTS[1])
        assert len(path.describe()["lost"]) == 2
        assert "success after 1 steps now" in path.lost[0]
        assert run.divergences.lines() == []


@pytest.mark.parametrize(
    ("chunk", "said"),
    [
        (np.zeros((2, 3), np.float32), "ValueError: chunks of shape (2, 3), where 4 steps were executed"),
        (None, "RuntimeError: the model broke"),
    ],
)
def test_a_variant_that_cannot_answer_is_noted_and_ends_nothing(new_run, monkeypatch, chunk, said):
    def infer(self, obs, noise=None):
        if self.gain != 2.0:
            return whole(self, obs, noise)
        if chunk is None:
            raise RuntimeError("the model broke")
        return {"actions": chunk}

    whole = Pusher.infer
    monkeypatch.setattr(Pusher, "infer", infer)
    with LocalPolicy(Pusher(), "pusher") as policy, new_run() as run:
        path = episodes_of(run, Point(), policy)
        assert path.describe() == {"failed": {TWICE: said}}
        assert {trial[0] for trial in answers(run)} == {HALF}
        assert len(run.records()) == 18


def test_numbers_that_are_not_finite_are_kept_as_they_are(new_run, monkeypatch):
    whole = Pusher.infer
    nothing = {"actions": np.full((6, 3), np.nan, np.float32)}
    monkeypatch.setattr(
        Pusher,
        "infer",
        lambda self, obs, noise=None: nothing if self.gain == 2.0 else whole(self, obs, noise),
    )
    with LocalPolicy(Pusher(), "pusher") as policy, new_run() as run:
        episodes_of(run, Point(), policy)
        assert all(np.isnan(actions).all() for trial, actions in answers(run).items() if trial[0] == TWICE)


def test_who_can_be_asked():
    with LocalPolicy(Pusher(), "pusher") as policy:
        assert why_not(policy) is None
        assert default_episodes(policy) == 2
        policy.determinism = "not given"
        assert "replies differently" in why_not(policy)
        policy.policy.elsewhere = True
        assert default_episodes(policy) == 0

    class Remembering(Pusher):
        stateless = False

    with LocalPolicy(Remembering(), "old") as policy:
        assert why_not(policy).startswith("old keeps a history")


def test_the_folder_is_left_as_it_is_without_episodes(new_run):
    with LocalPolicy(Pusher(), "pusher") as policy, new_run() as run:
        episodes_of(run, Point(), policy, kept=0)
        assert not Path(run.path / "divergence.jsonl").exists()
        assert policy.policy.asked == sum(record.replans for record in run.records())
