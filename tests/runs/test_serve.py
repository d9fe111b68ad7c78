import os
import signal
import threading
from urllib.request import urlopen

import numpy as np
import pytest
import torch
from remote_cases import free_port, serving
from torch import nn

from headless_eval.cli.main import main
from headless_eval.config.serve import ServeConfig
from headless_eval.contracts.robots import ROBOTS
from headless_eval.errors import StopRun, UserError
from headless_eval.local_policy import LocalPolicy
from headless_eval.policies.baselines import ZeroPolicy
from headless_eval.policies.remote.connection import ServerError, connect
from headless_eval.policies.remote.policy import RemotePolicy
from headless_eval.policies.remote.wire import pack

OBSERVATION = ROBOTS.find("droid").example_observation()
STATE = "observation/joint_position"


class Small(nn.Module):
    """A policy with a layer to round."""

    robot, noise_shape = "droid", (8, 8)

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(8, 8)

    def infer(self, obs, noise):
        return {"actions": self.layer(torch.from_numpy(noise)) + torch.from_numpy(obs[STATE]).mean()}


def test_a_policy_answers_at_its_precision():
    with LocalPolicy(Small(), "small") as policy:
        noise = np.random.default_rng(0).standard_normal(policy.noise_shape, np.float32)
        exact = policy.infer(OBSERVATION, noise)["actions"]
        policy.set_precision("int8_both")
        here = policy.infer(OBSERVATION, noise)["actions"]
        with serving(policy) as (_, address):
            remote = LocalPolicy(RemotePolicy(address), address)
            np.testing.assert_array_equal(remote.infer(OBSERVATION, noise)["actions"], here)
            assert (exact != here).any()
            metadata = remote.describe()["remote"]["metadata"]
            assert (metadata["precision"], metadata["robot"]) == ("int8_both", "droid")
            assert metadata["fingerprint"] == policy.fingerprint()
            drawn = [RemotePolicy(address).infer(OBSERVATION)["actions"] for _ in range(2)]
            assert (drawn[0] != drawn[1]).any()


def test_what_is_wrong_is_told_to_the_client_and_the_server_goes_on(capsys):
    with serving(LocalPolicy(Moody(), "moody")) as (server, address):
        for request, message in (
            ({"prompt": "break"}, "ZeroDivisionError"),
            ({"prompt": "refuse"}, "no such prompt"),
            ([1], "has to be a dict"),
        ):
            with pytest.raises(ServerError, match=message):
                connect(address, 1).ask(pack(request))
        assert connect(address, 1).ask(pack({"prompt": "x"}))["actions"].shape == (1, 2)
        assert (server.answered, server.connections) == (1, 4)
    assert "ZeroDivisionError" in capsys.readouterr().err


class Moody:
    stateless = True

    def infer(self, obs):
        if obs["prompt"] == "refuse":
            raise UserError("no such prompt")
        return {"actions": np.ones((1, 2)), "share": 1 // (obs["prompt"] != "break")}


class OneHistory:
    def infer(self, obs):
        return {"actions": np.zeros((8, 8))}

    def reset(self):
        pass


def test_a_policy_with_one_history_has_one_connection_at_a_time():
    with serving(LocalPolicy(OneHistory(), "one")) as (_, address):
        first = connect(address, 1)
        with pytest.raises(StopRun, match="one connection at a time"):
            connect(address, 0.2)
        first.close()
        assert "actions" in connect(address, 1).ask(pack(OBSERVATION))


def test_web_pages_are_kept_out_and_health_is_told():
    from websockets.exceptions import InvalidStatus
    from websockets.sync.client import connect as browse

    with serving(LocalPolicy(ZeroPolicy("droid"), "zero")) as (_, address):
        with pytest.raises(InvalidStatus, match="403"):
            browse(address, origin="https://example.org").__enter__()
        with urlopen(address.replace("ws://", "http://") + "/healthz") as reply:
            assert reply.read() == b"OK\n"


def test_the_command_serves_until_it_is_interrupted(capsys):
    port, replies = free_port(), []

    def ask_and_interrupt():
        try:
            replies.append(connect(f"ws://127.0.0.1:{port}", 10).ask(pack(OBSERVATION)))
            assert main(["serve", "--policy", "zero", "--port", str(port)]) == 2  # the port is taken
        finally:
            os.kill(os.getpid(), signal.SIGINT)

    client = threading.Thread(target=ask_and_interrupt)
    client.start()
    assert main(["serve", "--policy", "zero", "--robot", "droid", "--port", str(port)]) == 0
    client.join()
    told = capsys.readouterr()
    assert f"zero at float32 on ws://127.0.0.1:{port}; Ctrl-C ends it" in told.out
    assert "ended: 1 request, 1 connection" in told.out
    assert f"cannot listen at 127.0.0.1, port {port}" in told.err
    assert replies[0]["actions"].shape == (8, 8)


def test_flags_that_cannot_be(capsys):
    with pytest.raises(UserError, match="needs a calibration"):
        ServeConfig(dtype="duquant_w4a8")
    assert main(["serve", "--dtypes", "int9"]) == 2
    assert main(["serve", "--port", "70000"]) == 2
    assert "65535" in capsys.readouterr().err
