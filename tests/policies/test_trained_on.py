"""What a policy was trained on: said where it is listed, and where it is asked for something else."""

import json
import shutil

import pytest

from headless_eval.cli.main import main
from headless_eval.errors import UserError
from headless_eval.policies import registry as policies
from headless_eval.policies.trained_on import TrainedOn, read_trained_on, write_trained_on
from headless_eval.sims.registry import SUITES, find_suite, find_tasks

MILK = TrainedOn("libero_object", ("task_7",))
OBJECTS = SUITES["libero_object"].load_tasks()


def test_only_other_tasks_than_those_trained_on_are_warned_of():
    assert MILK.warning("mine", "libero_object", [OBJECTS[7]]) is None
    assert "9 of these 10 tasks" in MILK.warning("mine", "libero_object", OBJECTS)
    assert "this task" in MILK.warning("mine", "libero_object", [OBJECTS[0]])
    assert "10 of these 10" in MILK.warning("mine", "libero_spatial", SUITES["libero_spatial"].load_tasks())
    assert TrainedOn("libero_object").warning("mine", "libero_object", OBJECTS) is None


def test_it_is_written_and_read_back(tmp_path):
    assert read_trained_on(tmp_path) is None
    for trained_on in (MILK, TrainedOn("droid")):
        write_trained_on(tmp_path, trained_on)
        assert read_trained_on(tmp_path) == trained_on


@pytest.mark.parametrize(
    "text", ["suite = ", 'suite = ""\nscenes = []', "suite = 1", 'tasks = ["task_7"]', "\xff"]
)
def test_a_malformed_file_is_named(text, tmp_path):
    (tmp_path / "trained_on.toml").write_text(text, encoding="latin-1")
    with pytest.raises(UserError, match=r"trained_on\.toml"):
        read_trained_on(tmp_path)


def test_every_bundled_policy_says_what_it_is_for_and_the_tasks_exist():
    there = policies.trained_policies()
    assert set(there) == {path.name for path in policies.BUNDLED.iterdir()}
    for trained_on in there.values():
        assert find_tasks(find_suite(trained_on.suite).load_tasks(), trained_on.tasks)


@pytest.fixture
def bundled(tmp_path, monkeypatch):
    """Two bundled policies, of which only what they were trained on is there."""
    for name, trained_on in (("for-scenes", TrainedOn("droid")), ("for-milk", MILK)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.toml").touch()
        write_trained_on(tmp_path / name, trained_on)
    monkeypatch.setattr(policies, "BUNDLED", tmp_path)


def test_list_says_what_each_is_for(bundled, capsys):
    assert main(["list"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["for-milk", "--suite", "libero_object", "--tasks", "task_7"] in lines
    assert ["for-scenes", "--suite", "droid"] in lines
    assert main(["list", "--json"]) == 0
    there = json.loads(capsys.readouterr().out)["trained_on"]
    assert there["for-milk"] == {"suite": "libero_object", "tasks": ["task_7"]}


def test_a_policy_for_another_robot_is_answered_with_the_one_for_this(bundled, untrained_policy, capsys):
    assert main(["run", "--suite", "libero_object", "--policy", str(untrained_policy)]) == 2
    error = capsys.readouterr().err
    assert "robot" in error
    assert "--policy for-milk" in error
    assert "--policy for-scenes" not in error


def test_a_run_beyond_it_says_so_once(untrained_policy, short_episodes, tmp_path, capsys):
    """The real suite, by a policy that says it knows its second scene."""
    folder = shutil.copytree(untrained_policy, tmp_path / "policy")
    write_trained_on(folder, TrainedOn("droid", ("scene_2",)))
    flags = [
        "run",
        "--policy",
        str(folder),
        "--episodes",
        "1",
        "--dtypes",
        "float32",
        "--videos",
        "none",
        "--engine",
        "eager",
    ]
    for number, (tasks, times) in enumerate([(["1", "2"], 1), (["2"], 0)]):
        assert main([*flags, "--tasks", *tasks, "--results", str(tmp_path / str(number))]) == 0
        said = " ".join(capsys.readouterr().out.split())
        assert said.count("was trained on --suite droid --tasks scene_2 alone") == times
