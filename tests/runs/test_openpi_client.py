"""The package openpi-client, in an environment of its own, against ``headless-eval serve``."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from droid_suite import BUNDLED_POLICY
from paths import ROOT
from remote_cases import serving

from headless_eval.contracts.robots import ROBOTS
from headless_eval.local_policy import LocalPolicy, load_policy
from headless_eval.policies.remote.policy import RemotePolicy
from headless_eval.policies.remote.wire import pack, unpack

PYTHON = Path(os.environ.get("OPENPI_CLIENT_PYTHON", ROOT / ".venv-openpi-client" / "bin" / "python"))

pytestmark = [
    pytest.mark.openpi_client,
    pytest.mark.skipif(
        not PYTHON.is_file(), reason=f"no openpi-client in {PYTHON}: scripts/test_openpi_client.sh"
    ),
]

CLIENT = """
import json, sys
import numpy as np
from openpi_client import msgpack_numpy
from openpi_client.websocket_client_policy import WebsocketClientPolicy

address, request = sys.argv[1:]
host, _, port = address.rpartition(":")
observation = msgpack_numpy.unpackb(bytes.fromhex(open(request).read()))
noise = observation.pop("noise")
policy = WebsocketClientPolicy(host, int(port))
policy.reset()
replies = [policy.infer(observation | {"noise": noise}), policy.infer(observation)]
try:
    policy.infer({"prompt": "nothing to see"})
except RuntimeError as error:
    failure = str(error)
print(json.dumps({
    "metadata": policy.get_server_metadata(),
    "actions": [reply["actions"].tolist() for reply in replies],
    "dtype": str(replies[0]["actions"].dtype),
    "keys": sorted(replies[0]),
    "failure": failure,
}))
"""

# openpi's own server needs all of openpi; this one packs with its client's code.
SERVER = """
import sys
import numpy as np
from openpi_client import msgpack_numpy
from websockets.sync.server import serve

def talk(connection):
    packer = msgpack_numpy.Packer()
    connection.send(packer.pack({"reset_pose": np.zeros(3), "name": "fake"}))
    for message in connection:
        observation = msgpack_numpy.unpackb(message)
        state = observation["observation/joint_position"]
        actions = np.tile(np.append(state, 0.0), (8, 1))
        connection.send(packer.pack({"actions": actions, "state": state, "server_timing": {"infer_ms": 1.0}}))

with serve(talk, "127.0.0.1", 0, compression=None, max_size=None) as server:
    print(server.socket.getsockname()[1], flush=True)
    server.serve_forever()
"""


@pytest.mark.parametrize("precision", ["float32", "int8_both"])
def test_the_client_of_openpi_gets_the_actions_of_this_process(precision, tmp_path):
    with load_policy(BUNDLED_POLICY, max_batch=1) as policy:
        policy.set_precision(precision)
        noise = np.random.default_rng(0).standard_normal(policy.noise_shape, np.float32)
        observation = ROBOTS.find("droid").example_observation()
        request = tmp_path / "request"
        request.write_text(pack({**observation, "noise": noise}).hex())
        with serving(policy) as (server, address):
            done = subprocess.run(
                [PYTHON, "-c", CLIENT, address, request], capture_output=True, text=True, timeout=120
            )
            assert done.returncode == 0, done.stderr
            said = json.loads(done.stdout)
            assert server.answered == 2
        here = policy.infer(observation, noise)["actions"]
    assert said["dtype"] == "float32"
    np.testing.assert_array_equal(np.array(said["actions"][0], np.float32), here)
    assert (np.array(said["actions"][1], np.float32) != here).any()  # the server's own noise
    assert said["metadata"]["precision"] == precision
    assert {"actions", "policy_timing", "server_timing"} <= set(said["keys"])
    assert "observation/" in said["failure"]


def test_our_client_understands_what_openpis_code_packs():
    with subprocess.Popen([PYTHON, "-c", SERVER], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            policy = LocalPolicy(RemotePolicy(f"ws://127.0.0.1:{server.stdout.readline().strip()}"), "remote")
            observation = ROBOTS.find("droid").example_observation()
            observation["observation/joint_position"] = np.arange(7, dtype=np.float32)
            reply = policy.infer(observation)
            np.testing.assert_array_equal(reply["actions"], np.tile([0, 1, 2, 3, 4, 5, 6, 0], (8, 1)))
            assert policy.describe()["remote"]["metadata"] == {"reset_pose": [0, 0, 0], "name": "fake"}
        finally:
            server.kill()


def test_messages_are_the_same_bytes(tmp_path):
    message = {
        "a": np.arange(6, dtype=np.int16).reshape(2, 3),
        "b": np.float32(0.5),
        "c": ["x", 1.5, None, True],
    }
    code = "import sys\nfrom openpi_client import msgpack_numpy as m\n"
    code += "print(m.packb(m.unpackb(bytes.fromhex(sys.argv[1]))).hex())"
    done = subprocess.run(
        [PYTHON, "-c", code, pack(message).hex()], capture_output=True, text=True, check=True
    )
    assert bytes.fromhex(done.stdout) == pack(message)
    np.testing.assert_array_equal(unpack(bytes.fromhex(done.stdout))["a"], message["a"])
