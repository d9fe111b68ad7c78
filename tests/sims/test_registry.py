"""Suites by name, each with the settings that its simulators take."""

import subprocess
import sys
from dataclasses import dataclass
from typing import Annotated

import pytest

from headless_eval.cli.main import main
from headless_eval.contracts.simulator import Task
from headless_eval.errors import UserError
from headless_eval.shared.flags import flag
from headless_eval.sims.droid.suites import DroidSettings
from headless_eval.sims.libero.suites import LiberoSettings
from headless_eval.sims.registry import SUITES, SimulatorSettings, Suite, find_suite, find_tasks

TASKS = (Task(1, "near", "near", "go", 12), Task(4, "far", "far", "go further", 12))


@dataclass(frozen=True, kw_only=True)
class ToySettings(SimulatorSettings):
    gravity: float = 9.81
    """Gravity, in m/s²."""

    friction: Annotated[float | None, flag(simulator="second")] = None
    """Of the second simulator."""


def start(settings, **options):
    return settings, options


@pytest.fixture
def toy(monkeypatch):
    place = f"{__name__}:"
    suite = Suite(
        "toy",
        "",
        f"{place}TASKS",
        {"first": f"{place}start", "second": f"{place}start"},
        settings=ToySettings,
    )
    SUITES.names()  # fills it
    monkeypatch.setitem(SUITES._known, "toy", suite)
    return suite


def test_suites_are_known_by_name():
    assert SUITES.names()[0] == "droid"
    assert SUITES["libero_object"] is find_suite("libero_object")
    with pytest.raises(UserError, match="did you mean libero_object"):
        find_suite("libero_objekt")


def test_listing_suites_imports_no_simulator():
    script = "import sys; from headless_eval.sims.registry import SUITES; [s.settings() for _, s in SUITES.items()]"
    heavy = "print({'mujoco', 'torch', 'scipy', 'libero'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", f"{script}; {heavy}"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"


def test_a_simulator_gets_its_suites_settings(toy):
    settings, options = toy.make(ToySettings(sim="second", friction=0.5), num_slots=3, image_size=8)
    assert settings.friction == 0.5
    assert options == {"num_slots": 3, "tasks": TASKS, "image_size": 8}
    assert toy.make()[0] == ToySettings()
    assert toy.make(tasks=TASKS[:1])[1]["tasks"] == TASKS[:1]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (ToySettings(sim="third"), "unknown simulator of the suite toy 'third'"),
        (ToySettings(friction=1.0), "of --suite toy --sim first, but of --suite toy --sim second"),
        (DroidSettings(), "DroidSettings are no settings of the suite toy, which takes ToySettings"),
    ],
)  # fmt: skip
def test_settings_that_do_not_fit_are_refused(toy, settings, sentence):
    with pytest.raises(UserError, match=sentence):
        toy.make(settings)


def test_a_suites_settings_are_flags_of_the_commands_that_simulate(toy, capsys):
    for command in ("run", "calibrate", "sensitivity"):
        with pytest.raises(SystemExit):
            main([command, "--suite", "toy", "--help"])
        said = capsys.readouterr().out
        assert "--gravity NUMBER" in said
        assert "Gravity, in m/s² (default: 9.81)" in said
        assert "--physics" not in said
    assert main(["run", "--gravity", "1.6"]) == 2
    assert (
        "--gravity is no setting of --suite droid --sim mujoco, but of --suite toy" in capsys.readouterr().err
    )
    assert main(["run", "--suite", "libero_goal", "--physics", "newton"]) == 2
    said = capsys.readouterr().err
    assert (
        "--physics is no setting of --suite libero_goal --sim mujoco, but of --suite droid --sim isaaclab"
        in said
    )
    assert main(["run", "--suite", "toy", "--gravty", "1.6"]) == 2
    assert "perhaps you meant --gravity" in capsys.readouterr().err


def test_liberos_suites_share_their_settings():
    assert {SUITES[name].settings for name in SUITES.names() if name.startswith("libero_")} == {
        LiberoSettings
    }


def test_tasks_are_found_by_number_key_or_name():
    assert find_tasks(TASKS, ("4", "near")) == (TASKS[1], TASKS[0])
    assert find_tasks(TASKS, ()) == TASKS
    with pytest.raises(UserError, match="unknown task '2'"):
        find_tasks(TASKS, ("2",))
