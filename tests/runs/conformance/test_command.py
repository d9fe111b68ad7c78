"""The command check-plugin: what a thing is, its table and its exit status."""

import pytest

from headless_eval.cli.main import main
from headless_eval.contracts.robots import ROBOTS
from headless_eval.policies.checks import FAILED
from headless_eval.runs.conformance.robot import examine_robot

PLUGINS = """
import numpy as np
from headless_eval.contracts.robots import ROBOTS

class HoldStill:
    robot = "droid"
    stateless = True

    def __init__(self, steps=8):
        self.steps = steps

    def infer(self, obs):
        here = np.concatenate([obs["observation/joint_position"], obs["observation/gripper_position"]])
        return {"actions": np.tile(here, (self.steps, 1)).astype(np.float32)}

def rounds(model):
    for parameter in model.parameters():
        parameter.data = (parameter.data * 16).round() / 16

DROID = ROBOTS.find("droid")
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "plugins.py"
    path.write_text(PLUGINS)
    return path


@pytest.mark.parametrize(
    ("name", "kind"), [("HoldStill", "policy"), ("rounds", "method"), ("DROID", "robot")]
)
def test_it_tells_what_a_thing_is_and_passes_what_is_sound(file, name, kind, capsys):
    assert main(["check-plugin", f"{file}:{name}"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{kind} ")
    assert "FAILED" not in out


def test_a_failed_test_is_exit_1_and_says_what_is_wrong(file, capsys):
    assert main(["check-plugin", f"{file}:HoldStill", "--policy-args", "steps=3"]) == 1
    out = " ".join(capsys.readouterr().out.split())
    assert "3 actions of a chunk, of which 8 are to be executed" in out


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["nothing_of_the_kind"], "plugin"),
        (["{file}:Nope"], "Nope"),
        (["droid", "--kind", "robot", "--suite", "droid"], "are for policies"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(file, arguments, word, capsys):
    assert main(["check-plugin", *(argument.format(file=file) for argument in arguments)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert word in error


def test_our_robots_conform():
    for _, robot in ROBOTS.items():
        assert FAILED not in [one.status for one in examine_robot(robot)]
