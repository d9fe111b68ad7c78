"""Policies that users bring: how they are named, made, told of in a manifest, and refused."""

import json
import re
import sys
from importlib.metadata import EntryPoint

import numpy as np
import pytest

from headless_eval.cli.main import main
from headless_eval.contracts.robots import ROBOTS
from headless_eval.errors import UserError
from headless_eval.local_policy import list_policies, load_policy
from headless_eval.policies.own import family
from headless_eval.policies.registry import absolute_policy, trained_on
from headless_eval.results import RunDirectory

CODE = """
import numpy as np

class Still:
    robot = "droid"
    stateless = True
    def __init__(self, *, shift=0.0, device="nowhere"):
        self.shift, self.device = shift, device
    def infer(self, obs):
        here = np.concatenate([obs["observation/joint_position"], obs["observation/gripper_position"]])
        return {"actions": np.tile(here + self.shift, (8, 1))}

def broken(weights):
    return open(weights)

def anything(**settings):
    return Still(**settings)

ready = Still(shift=3.0)
number = 8
"""


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "still.py").write_text(CODE)
    yield tmp_path / "still.py"
    sys.modules.pop("still", None)


def test_a_class_or_a_function_makes_the_policy(file):
    observation = ROBOTS["droid"].example_observation()
    for place, args, shift in (
        ("./still.py:Still", {"shift": 0.5}, 0.5),
        ("still:Still", ("shift=0.5",), 0.5),
        ("still:anything", (), 0.0),
        (f"{file}:ready", (), 3.0),
    ):
        with load_policy(place, policy_args=args) as policy:
            assert policy.name == place
            assert policy.policy.device == ("nowhere" if shift in (0.0, 3.0) else "cpu")
            np.testing.assert_array_equal(policy.infer(observation)["actions"][:, :7], shift)
            assert policy.describe()["origin"]["place"].endswith(place.partition(":")[2])
            assert list(policy.describe()["code"]) == ["still.py"]


@pytest.mark.parametrize(
    ("place", "options", "message"),
    [
        ("./still.py", {}, r"a file of Python: add .* \(\./still\.py:Still\)"),
        ("still:Still", {"policy_args": ["shfit=1"]}, "unknown argument of still:Still 'shfit': did you mean shift"),
        ("still:ready", {"policy_args": ["shift=1"]}, "unknown argument of still:ready"),
        ("still:broken", {}, "needs weights: add --policy-args weights=VALUE"),
        ("still:broken", {"policy_args": ["weights=no.pt"]}, r"made \(FileNotFoundError: .*, still\.py line \d+\)"),
        ("still:Still", {"flow_steps": 3}, r"takes no flow_steps \(3\)"),
        ("still:number", {}, "is int: name a class or a function"),
        ("still:np.array", {"policy_args": ["object=1"]}, "has no infer"),
        ("zero", {"policy_args": ["a=1"]}, "leave them out"),
        ("stil", {}, "ws://HOST:PORT; or your own, as module:attribute"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_a_line(file, place, options, message):
    with pytest.raises(UserError, match=message):
        load_policy(place, **options)


def test_what_names_it_from_anywhere(file):
    assert absolute_policy("./still.py:Still") == f"{file}:Still"
    assert absolute_policy("still:Still") == "still:Still"
    assert absolute_policy("zero") == "zero"
    assert absolute_policy(".") == str(file.parent)
    assert trained_on("./still.py:Still") is None


def test_an_installed_package_brings_policies_by_name(file, monkeypatch, capsys):
    points = [EntryPoint(name, "still:Still", family.GROUP) for name in ("still-one", "pi0-droid-tiny")]
    monkeypatch.setattr(family, "entry_points", lambda group: points)
    family._points_on.cache_clear()
    try:
        assert list_policies().count("pi0-droid-tiny") == 1
        with load_policy("still-one", policy_args={"shift": 1}) as policy:
            assert policy.policy.shift == 1
        assert main(["list"]) == 0
        assert re.search(r"still-one +another package", capsys.readouterr().out)
    finally:
        family._points_on.cache_clear()


RUN = ["--tasks", "1", "--episodes", "1", "--dtypes", "float32", "--videos", "none", "--quiet"]


def test_a_run_states_the_code_and_goes_on_with_that_code_alone(file, short_episodes, capsys):
    assert main(["run", "--policy", "./still.py:Still", *RUN, "--results", "run"]) == 0
    manifest = json.loads((file.parent / "run" / "manifest.json").read_text())
    assert manifest["settings"]["policy"] == f"{file}:Still"
    assert manifest["policy"]["origin"] == {"place": "still.py:Still", "distribution": None, "version": None}
    assert manifest["policy"]["determinism"] == "checked"
    assert main(["verify", "run"]) == 0
    assert "the same: 1 trial" in capsys.readouterr().out
    file.write_text(CODE + "# another")
    (file.parent / "run" / "journal.jsonl").write_text("")
    assert main(["run", "--resume", "run"]) == 2
    assert "the policy's code still.py: " in capsys.readouterr().err


DRAWING = """
import os, random
import numpy as np
from still import Still

class Drawing(Still):
    stateless = False
    def reset(self, slots): ...
    def infer_batch(self, observations, slots):
        replies = [self.infer(obs) for obs in observations]
        for reply in replies:
            reply["actions"] = reply["actions"] + self.draw()
        return replies
    def draw(self): return 0.01 * random.random()

class Secret(Drawing):
    def draw(self): return 1e-4 * os.urandom(1)[0]
"""


@pytest.mark.slow
def test_a_policy_without_seeds_of_its_own_is_seeded_by_trial(file, short_episodes, capsys):
    (file.parent / "drawing.py").write_text(DRAWING)
    hashes = []
    for slots in (1, 3):
        words = [
            "--policy",
            "./drawing.py:Drawing",
            *RUN,
            "--episodes",
            "3",
            "--slots",
            slots,
            "--results",
            slots,
        ]
        assert main(["run", *map(str, words)]) == 0
        run = RunDirectory.open(file.parent / str(slots))
        assert run.manifest["policy"]["determinism"] == "checked"
        hashes.append({record.episode: record.actions_sha256 for record in run.records()})
    assert hashes[0] == hashes[1]
    assert len(set(hashes[0].values())) == 3
    assert main(["run", "--policy", "./drawing.py:Secret", *RUN[:-1], "--results", "secret"]) == 0
    assert "actions of this run cannot be repeated" in capsys.readouterr().out
    assert main(["verify", "secret"]) == 0
    assert "outcomes are compared, not actions" in capsys.readouterr().out
