import threading
from time import sleep
from typing import Any

import numpy as np
import pytest
from droid_suite import BUNDLED_POLICY
from remote_cases import answering, free_port, serving

from headless_eval import evaluate
from headless_eval.cli.main import main
from headless_eval.config.run import RunConfig
from headless_eval.contracts.robots import ROBOTS
from headless_eval.contracts.simulator import StepResult, Task
from headless_eval.contracts.variant import Variant
from headless_eval.errors import LostConnection, StopRun
from headless_eval.local_policy import LocalPolicy, load_policy
from headless_eval.loop import run_trials
from headless_eval.policies.baselines import RandomPolicy
from headless_eval.policies.registry import find_claimant
from headless_eval.policies.remote.connection import ServerError
from headless_eval.policies.remote.policy import RemotePolicy
from headless_eval.policies.remote.wire import BadMessage
from headless_eval.quant.precision import Precision
from headless_eval.results import ERROR, RunDirectory
from headless_eval.rollout.trials import make_trials

OBSERVATION = ROBOTS.find("droid").example_observation()
SHORT = ["--tasks", "1", "--episodes", "2", "--videos", "none", "--quiet"]


def hold_still(obs):
    return {"actions": np.tile(ROBOTS.find("droid").hold_still(obs), (8, 1))}


def test_an_observation_goes_to_the_server_and_actions_come_back():
    seen = []

    def answer(obs):
        seen.append(obs)
        return hold_still(obs) | {"server_timing": {"infer_ms": 1.0}}

    told = {
        "robot": "droid",
        "open_loop_horizon": 5,
        "image_size": 64,
        "noise_shape": [8, 8],
        "reset_pose": np.zeros(2),
    }
    with answering(answer, told) as address, load_policy(address) as policy:
        reply = policy.infer(OBSERVATION)
        assert reply["actions"].shape == (8, 8)
        assert seen[0].keys() == OBSERVATION.keys()
        assert seen[0]["observation/exterior_image_1_left"].dtype == np.uint8
        assert (policy.robot, policy.open_loop_horizon, policy.image_size) == ("droid", 5, 64)
        assert policy.noise_shape is None  # another's server would take it for a part of the observation
        described = policy.describe()
        assert described["remote"]["metadata"]["reset_pose"] == [0, 0]
        assert described["fingerprint"] is None


def test_every_episode_has_a_connection_of_its_own():
    with serving(LocalPolicy(Counting(), "counting")) as (server, address):
        policy = RemotePolicy(address)
        policy.reset([0])
        policy.reset([1])
        counts = [
            policy.infer_batch([OBSERVATION], None, [slot])[0]["actions"][0, 0] for slot in (0, 0, 1, 0, 1)
        ]
        assert counts == [1, 2, 1, 3, 2]
        policy.reset([0])
        assert policy.infer_batch([OBSERVATION] * 2, None, [0, 1])[0]["actions"][0, 0] == 1
        assert server.connections == 3


class Counting:
    """A policy with a history: how often each slot was asked."""

    stateless = False

    def __init__(self):
        self.counts = {}

    def infer(self, obs):
        return self.infer_batch([obs], slots=[0])[0]

    def infer_batch(self, observations, noise=None, slots=()):
        for slot in slots:
            self.counts[slot] = self.counts.get(slot, 0) + 1
        return [{"actions": np.full((8, 8), self.counts[slot], np.float32)} for slot in slots]

    def reset(self, slots=None):
        for slot in list(self.counts) if slots is None else slots:
            self.counts[slot] = 0


def test_errors_of_the_server_are_not_lost_connections():
    replies = {"text": "Traceback ...\nKeyError: 'state'\n", "bytes": b"\xc1", "list": [1], "break": None}
    with answering(lambda obs: replies[obs["prompt"]]) as address:
        policy = RemotePolicy(address)
        with pytest.raises(ServerError, match="KeyError: 'state'") as caught:
            policy.infer({"prompt": "text"})
        assert "Traceback ..." in caught.value.__notes__[0]
        for prompt in ("bytes", "list"):
            policy.reset()
            with pytest.raises(BadMessage):
                policy.infer({"prompt": prompt})
        policy.reset()
        with pytest.raises(LostConnection, match="broke"):
            policy.infer({"prompt": "break"})
        with pytest.raises(LostConnection):  # the episode does not go on
            policy.infer({"prompt": "text"})
        policy.reset([0])
        with pytest.raises(BadMessage, match="cannot be sent"):
            policy.infer({"prompt": object()})


def test_a_long_inference_is_waited_for_and_a_restarted_server_is_found_again():
    def slow(obs):
        sleep(0.3)
        return hold_still(obs)

    port = free_port()
    with answering(slow, port=port) as address:
        policy = RemotePolicy(address, patience=10)
        policy.infer(OBSERVATION)
    with pytest.raises(LostConnection):
        policy.infer(OBSERVATION)

    def later():
        sleep(0.3)
        with answering(hold_still, port=port):
            done.wait()

    done = threading.Event()
    server = threading.Thread(target=later)
    server.start()
    try:
        policy.reset([0])
        assert policy.infer(OBSERVATION)["actions"].shape == (8, 8)
    finally:
        done.set()
        server.join()


def test_what_is_the_servers_is_refused_here(capsys):
    for flags, message in (
        (["--dtypes", "float32", "int8"], "the weights are on a server"),
        (["--flow-steps", "5"], "flow steps of the policy"),
        (["--engine", "eager"], "engine of the policy"),
    ):
        assert main(["run", "--policy", "ws://127.0.0.1:1", *SHORT, *flags]) == 2
        assert message in capsys.readouterr().err
    assert RunConfig(policy="ws://127.0.0.1:1").dtypes == ("float32",)
    assert find_claimant("ws:/host") is find_claimant("https://host") is None


@pytest.mark.usefixtures("short_episodes")
def test_a_run_over_a_connection_is_the_run_of_this_process(finished, tmp_path):
    """Our own server takes the trial's noise, so that even the actions are the same."""
    here = {record.trial: record.actions_sha256 for record in RunDirectory.open(finished).records()}
    with serving(LocalPolicy(RandomPolicy("droid"), "random")) as (_, address):
        run = evaluate(address, tasks=["1"], episodes=2, videos="none", results=tmp_path / "run")
        assert main(["verify", str(run.path), "--sample", "1"]) == 0
    assert {record.trial: record.actions_sha256 for record in run.records()}.items() <= here.items()
    assert run.manifest["policy"]["remote"]["metadata"]["policy"] == "random"
    assert run.manifest["policy"]["determinism"] == "checked"
    assert "The policy was on a server" in (run.path / "report.html").read_text("utf-8")
    assert "The policy was on a server" not in (finished / "report.html").read_text("utf-8")


class Standstill:
    """A simulator of two slots in which nothing happens for 16 steps."""

    num_slots, control_hz = 2, 15.0

    def reset(self, slot, task, seed):
        pass

    def observe(self, slots):
        return [{"slot": slot} for slot in slots]

    def step(self, actions):
        return {slot: StepResult(success=False) for slot in actions}


def run_episodes(address, number, **options):
    policy, task, ended = (
        LocalPolicy(RemotePolicy(address, **options), "remote"),
        Task(1, "one", "One", "wait", 16),
        [],
    )
    trials = make_trials([Variant(Precision())], [task], number, seed=7)
    simulator: Any = Standstill()
    try:
        run_trials(
            simulator, policy, trials, on_episode=lambda record, _: ended.append(record), open_loop_horizon=8
        )
    except StopRun as error:
        return ended, error
    return ended, None


def test_a_lost_connection_is_an_error_that_is_tried_again():
    asked = []

    def answer(obs):
        asked.append(obs)
        return (
            None if len(asked) == 4 else {"actions": np.zeros((8, 8))}
        )  # in the middle of the second episode

    with answering(answer) as address:
        ended, stopped = run_episodes(address, 2)
    assert stopped is None
    assert [(one.episode, one.status) for one in ended] == [(1, ERROR), (0, "failure"), (1, "failure")]
    assert ended[0].error["type"].endswith("LostConnection")
    assert (
        len(asked) == 2 + 2 + 2
    )  # no answer was asked for again, none came on a connection without the episode


def test_a_server_that_always_breaks_is_not_asked_for_ever():
    with answering(lambda obs: None) as address:
        ended, _ = run_episodes(address, 1)
    assert [one.status for one in ended] == [ERROR] * (1 + LostConnection.retries)


def test_a_server_that_is_gone_stops_the_run():
    port, asked, done = free_port(), [], threading.Event()

    def answer(obs):
        asked.append(obs)
        if len(asked) <= 4:
            return {"actions": np.zeros((8, 8))}
        done.set()
        return None

    def serve_a_while():
        with answering(answer, port=port):
            done.wait()

    server = threading.Thread(target=serve_a_while)
    server.start()
    ended, stopped = run_episodes(f"ws://127.0.0.1:{port}", 6, first_patience=5, patience=0.2)
    server.join()
    assert [one.status for one in ended] == ["failure", "failure", ERROR, ERROR]
    assert "--resume" in str(stopped)


def test_the_bundled_policy_is_not_one_of_them():
    assert find_claimant(BUNDLED_POLICY) is None
