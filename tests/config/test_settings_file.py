"""Settings of runs in a file."""

import json

import pytest

from headless_eval.config.run import RunConfig
from headless_eval.config.settings_file import combinations, read_settings, save
from headless_eval.config.stored import run_with
from headless_eval.errors import UserError


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "run.toml"
        path.write_text(text)
        return path

    return write


def planned(path, given=(), suite=None):
    return combinations(path, read_settings(path), given, suite)


def test_every_flag_is_a_key(file):
    path = file('policy = "random"\nopen-loop-horizon = 4\nmax_steps = 9\ntasks = ["1"]\nsim = "mujoco"\n')
    (only,) = planned(path)
    assert (only.label, only.axes) == ("", {})
    config = run_with(only.values)
    assert (config.open_loop_horizon, config.max_steps, config.tasks) == (4, 9, ("1",))
    assert config.simulator.sim == "mujoco"


def test_variants_are_tables(file):
    path = file(
        """
        [[variants]]
        dtype = "float32"

        [[variants]]
        dtype = "int8"
        mode = "both"
        flow_steps = 5

        [[variants]]
        name = "fast"
        precision = "int8_both"
        flow-steps = 3
        """
    )
    (only,) = planned(path)
    config = run_with(only.values)
    assert [variant.name for variant in config.variants] == ["float32", "int8_both_flow_steps_5", "fast"]
    assert config.variants[1].settings == {"flow_steps": 5}


def test_what_the_command_line_gives_is_left_out(file):
    path = file('dtypes = ["int8"]\nmodes = ["both"]\nseed = [1, 2]\nepisodes = 3\n')
    (only,) = planned(path, {"variant", "seed"})
    assert only.values == {"episodes": 3}
    path = file('suite = "libero_goal"\nlibero_assets = "assets"\nepisodes = 3\n')
    (only,) = planned(path, {"suite"}, "droid")
    assert only.values == {"episodes": 3}


def test_lists_make_a_matrix(file):
    path = file('seed = [1, 2]\ncheckpoint = ["/a/first", "/b/second"]\ntasks = ["1"]\n')
    found = planned(path)
    assert [one.label for one in found] == [
        "seed_1-checkpoint_first",
        "seed_1-checkpoint_second",
        "seed_2-checkpoint_first",
        "seed_2-checkpoint_second",
    ]
    assert found[3].axes == {"seed": 2, "checkpoint": "/b/second"}
    assert str(found[3].values["checkpoint"]) == "/b/second"
    same = planned(file('checkpoint = ["/a/x", "/b/x"]\n'))
    assert [one.label for one in same] == ["checkpoint_x_1", "checkpoint_x_2"]
    lists = planned(file('tasks = [["1"], ["1", "3"]]\n'))
    assert [one.values["tasks"] for one in lists] == [("1",), ("1", "3")]
    suites = planned(file('suite = ["droid", "libero_goal"]\npolicy = "random"\n'))
    assert [run_with(one.values).suite for one in suites] == ["droid", "libero_goal"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("episode = 3\n", "unknown setting 'episode': did you mean episodes"),
        ("physics = 'newton'\nsuite = 'libero_goal'\n", "--physics is no setting of --suite libero_goal"),
        ('episodes = "three"\n', "its setting 'episodes' is 'three'"),
        ("seed = []\n", "'seed' is an empty list"),
        ("resume = 'x'\n", "'resume' is no setting for a file: give --resume"),
        ("seed = \n", "it cannot be read"),
        ("[[variants]]\nmode = 'both'\n", "needs either precision"),
        ("[[variants]]\ndtype = 'int8'\nflow_steps = [5]\n", "it has to be a number or a string"),
        ("variants = 3\n", r"has to be a list of tables"),
        ("[[variants]]\ndtype = true\n", "has True where a text has to be"),
        ("[[variants]]\nprecision = 'int8_both'\nname = 7\n", "has 7 where a text has to be"),
        ("variant = 3\nvariants = ['int8_both']\n", "'variant' is 3: it has to be a list of texts"),
    ],
)
def test_mistakes_name_the_file(text, message, file):
    path = file(text)
    with pytest.raises(UserError, match=message) as caught:
        planned(path)
    assert str(path) in str(caught.value)


def test_settings_survive_being_written_and_read(tmp_path, capsys):
    config = run_with(
        {
            "variant": ["float32", "fast=int8_both+flow_steps=5"],
            "include": 'a"\\.b',
            "tasks": ["1", "scene_3"],
            "seed": 3,
            "max_steps": 20,
            "video_fps": 2.5,
            "sim": "mujoco",
            "episode_timeout": 60.0,
        }
    )
    path = tmp_path / "run.toml"
    save(config, path)
    assert f"run --from {path}" in capsys.readouterr().out
    assert "# Euler steps of flow matching.\n# flow_steps =\n" in path.read_text()
    (only,) = planned(path)
    assert run_with(only.values) == config
    with pytest.raises(UserError, match=r"run\.toml exists"):
        save(config, path)
    plain = tmp_path / "plain.toml"
    save(RunConfig(), plain)
    assert run_with(planned(plain)[0].values) == RunConfig()
    assert "variants =" not in plain.read_text()
    assert json.dumps("droid") in plain.read_text()
