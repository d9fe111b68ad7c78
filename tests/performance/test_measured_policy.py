"""Policies of users, measured as a whole: bench, profile and sensitivity."""

import json
import sys

import pytest
from performance_cases import rows

from headless_eval.cli.main import main
from headless_eval.performance.measured_policy import measure_whole
from headless_eval.performance.workload import Workload
from headless_eval.policies.options import LoadOptions

CODE = """
import numpy as np
import torch
from torch import nn

class Mlp:
    robot = "droid"
    stateless = True
    def __init__(self):
        torch.manual_seed(0)
        self.parts = {"net": nn.Sequential(nn.Linear(8, 32), nn.GELU(), nn.Linear(32, 64)), "head": nn.Linear(8, 8)}
    def infer_batch(self, observations):
        keys = ("observation/joint_position", "observation/gripper_position")
        here = [np.concatenate([obs[key] for key in keys]) for obs in observations]
        here = torch.from_numpy(np.stack(here)).float()
        chunks = self.parts["head"](self.parts["net"](here).view(-1, 8, 8))
        return [{"actions": chunk} for chunk in chunks]
    def infer(self, obs):
        return self.infer_batch([obs])[0]

class History(Mlp):
    stateless = False
    def reset(self):
        self.last = 0
    def infer(self, obs):
        self.last = self.last + 0.1 * super().infer(obs)["actions"].numpy() + 1e-3 * np.random.random()
        return {"actions": self.last}

class Modelless:
    robot = "droid"
    def infer(self, obs):
        return {"actions": [[0.0] * 8]}

class Robotless(Mlp):
    robot = None
"""

JAX = """
import flax.nnx as nnx
import numpy as np

class Net(nnx.Module):
    def __init__(self):
        rngs = nnx.Rngs(0)
        self.layers = nnx.List([nnx.Linear(8, 32, rngs=rngs), nnx.Linear(32, 32, rngs=rngs)])
        self.head = nnx.Linear(32, 64, use_bias=False, rngs=rngs)
    def __call__(self, state):
        for layer in self.layers:
            state = nnx.relu(layer(state))
        return self.head(state).reshape(-1, 8, 8)

class Flax:
    robot = "droid"
    stateless = True
    def __init__(self):
        self.net = Net()
        self._act = nnx.jit(lambda net, state: net(state))
    def infer_batch(self, observations):
        rows = [[*obs["observation/joint_position"], *obs["observation/gripper_position"]] for obs in observations]
        return [{"actions": chunk} for chunk in np.asarray(self._act(self.net, np.float32(rows)))]
    def infer(self, obs):
        return self.infer_batch([obs])[0]
"""


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "mine.py").write_text(CODE)
    return tmp_path


def test_costs_are_counted_by_module(file):
    measured = measure_whole("mine", {"policy": "./mine.py:Mlp"}, LoadOptions())
    assert (measured.views, measured.sizes) == (2, "8 actions of 8 dimensions")
    costs = {cost.module: cost.flops for cost in measured.costs(Workload(3, 2, 0))}
    assert costs == {
        "parts_net.0": 2 * 3 * 8 * 32,
        "parts_net.2": 2 * 3 * 32 * 64,
        "parts_head": 2 * 3 * 8 * 64,
    }
    assert [measured.component(name) for name in costs] == ["parts_net", "parts_net", "parts_head"]


def test_bench_measures_it(file, capsys):
    words = ["--dtypes", "float32", "int8", "--batch", "1", "3", "--repeats", "2", "--results", "bench"]
    assert main(["bench", "--policy", "./mine.py:Mlp", *words]) == 0
    by_case = {(row["precision"], row["batch"]): row for row in rows(file / "bench" / "bench.csv")}
    assert len(by_case) == 4
    assert {row["status"] for row in by_case.values()} == {"ok"}
    assert float(by_case["float32", "1"]["error"]) == 0
    assert 0 < float(by_case["int8_both", "3"]["error"]) < 0.1
    assert float(by_case["int8_both", "3"]["limit_ms"]) > 0


def test_one_with_a_history_and_random_numbers_is_measured_from_an_episodes_start(file):
    measured = measure_whole("mine", {"policy": "./mine.py:History"}, LoadOptions())
    inputs = measured.inputs(Workload(2, 2, 0))
    with measured.load("cpu") as policy:
        first = policy.sample(inputs)
        assert (policy.sample(inputs) == first).all()
        assert (policy.sample(inputs.rows(1, 2))[0] == first[1]).all()


@pytest.mark.slow
def test_profile_and_sensitivity_measure_it(file, short_episodes):
    words = ["--policy", "./mine.py:Mlp", "--results"]
    assert main(["profile", *words, "profile", "--dtype", "int8", "--repeats", "2"]) == 0
    (profile,) = json.loads((file / "profile" / "profile.json").read_text())["profiles"]
    assert {"parts_net", "parts_head"} <= {row["component"] for row in profile["components"]}
    flags = ["--dtypes", "int8", "--tasks", "1", "--number", "2", "--open-loop-horizon", "8"]
    assert main(["sensitivity", *words, "parts", *flags]) == 0
    parts = json.loads((file / "parts" / "sensitivity.json").read_text())["parts"]
    by_part = {(part["component"], part["layer"]): part for part in parts}
    assert by_part["parts_net", 0]["parameters"] + by_part["parts_net", 2]["parameters"] == pytest.approx(
        by_part["parts_net", None]["parameters"]
    )
    assert by_part["all", None]["error"] > by_part["parts_head", None]["error"] > 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["./mine.py:Modelless"], "holds no model, of torch or of JAX"),
        (["./mine.py:Robotless"], "give it the attribute robot"),
        (["./mine.py:Mlp", "--views", "1"], "leave out --views"),
        (["./mine.py:Mlp", "--engines", "compiled"], "leave out --engines"),
        (["./mine.py:Mlp", "--prompt-tokens", "8"], "leave out --prompt-tokens"),
        (["./mine.py:Mlp", "--compute", "bfloat16"], "takes no dtype"),
    ],
)
def test_what_cannot_be_measured_is_said_in_a_line(file, words, message, capsys):
    assert main(["bench", "--policy", *words]) == 2
    assert message in capsys.readouterr().err


@pytest.fixture
def in_jax(file):
    pytest.importorskip("flax", reason="the extra jax is not installed")
    (file / "flax_mlp.py").write_text(JAX)
    return "./flax_mlp.py:Flax"


def test_bench_measures_a_policy_in_jax(in_jax, file):
    words = ["--dtypes", "float32", "int8", "--batch", "1", "3", "--repeats", "2", "--results", "bench"]
    assert main(["bench", "--policy", in_jax, *words]) == 0
    by_case = {(row["precision"], row["batch"]): row for row in rows(file / "bench" / "bench.csv")}
    assert {row["status"] for row in by_case.values()} == {"ok"}
    assert float(by_case["float32", "1"]["error"]) == 0
    for batch in "13":
        row = by_case["int8_both", batch]
        assert 1e-4 < float(row["error"]) < 0.1
        assert float(row["median_ms"]) > 0
        assert row["limit_ms"] == ""
        assert int(row["weights_bytes"]) == 4 * (8 * 32 + 32 + 32 * 32 + 32 + 32 * 64)


def test_sensitivity_rounds_a_policy_in_jax_part_by_part(in_jax, file, short_episodes):
    flags = ["--dtypes", "int8", "--tasks", "1", "--number", "2", "--by", "both"]
    assert main(["sensitivity", "--policy", in_jax, "--results", "parts", *flags]) == 0
    parts = json.loads((file / "parts" / "sensitivity.json").read_text())["parts"]
    by_part = {(part["component"], part["layer"]): part for part in parts}
    assert {("all", None), ("layers", None), ("layers", 0), ("layers", 1), ("head", None)} <= set(by_part)
    assert by_part["head", None]["parameters"] == pytest.approx(
        32 * 64 / (8 * 32 + 32 + 32 * 32 + 32 + 32 * 64)
    )
    for name in (("layers", 0), ("layers", 1), ("head", None)):
        assert 0 < by_part[name]["error"] < 0.1
    assert by_part["all", None]["error"] > by_part["head", None]["error"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["profile"], "computes in JAX, and times by module are known of torch's modules alone"),
        (["calibrate", "--tasks", "1"], "holds no torch model: there is nothing to calibrate"),
        (
            ["run", "--dtypes", "smoothquant_w8a8", "--results", "out"],
            "is for torch models, and Flax computes in JAX",
        ),
    ],
)
def test_what_is_for_torch_s_modules_is_refused_in_one_line(in_jax, words, message, capsys):
    assert main([*words, "--policy", in_jax]) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
