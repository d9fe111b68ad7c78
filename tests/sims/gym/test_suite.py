"""Runs in a Gymnasium environment, with a suite from a file."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("gymnasium", reason="gymnasium is not installed: pip install 'headless-eval[gym]'")

from headless_eval import UserError, evaluate
from headless_eval.cli.main import main

TOY = Path(__file__).with_name("toy_suite.py")


class Walker:
    """Goes halfway to the mark; from far it starts so fast that the environment fails."""

    stateless = True
    open_loop_horizon = 2

    def infer(self, obs):
        position, mark = obs["observation/state"]
        far = abs(mark - position) > 0.55
        return {"actions": np.array([[180.0 if far else (mark - position) / 2], [0.0]], np.float32)}


def run(suite, folder, **settings):
    return evaluate(
        Walker(),
        **{"suite": suite, "episodes": 6, "dtypes": ["float32"], "videos": "none"} | settings,
        results=folder,
    )


@pytest.fixture
def toy(tmp_path):
    return Path(shutil.copy(TOY, tmp_path / "my_suite.py"))


def test_a_suite_from_a_file_gives_the_same_actions_with_any_number_of_slots(toy, tmp_path):
    one, four = (
        run(f"{toy}:SUITE", tmp_path / f"run_{slots}", slots=slots, episodes=12).records() for slots in (1, 4)
    )
    assert [record.actions_sha256 for record in one] == [record.actions_sha256 for record in four]
    states = [record.initial_state_sha256 for record in one]
    assert states == [record.initial_state_sha256 for record in four]
    assert len(set(states) - {None}) > 1
    assert {record.status for record in one} == {"success", "error"}
    assert {record.error["message"] for record in one if record.error} == {"too fast"}
    assert all(record.metrics["distance"] < 0.05 for record in one if record.success)


def test_the_manifest_tells_where_the_suite_is_from(toy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    manifest = run("./my_suite.py:SUITE", "run", episodes=1).manifest
    assert manifest["suite"] == "toy_line"
    assert manifest["settings"]["suite"] == f"{toy}:SUITE"
    assert manifest["simulator"]["origin"]["place"] == "my_suite.py:SUITE"
    assert set(manifest["simulator"]["code"]) == {"my_suite.py"}
    assert manifest["versions"]["gymnasium"]
    assert Path("run/toy_line_results.csv").is_file()


def test_resuming_refuses_a_file_that_has_changed(toy, tmp_path, capsys):
    words = ["run", "--policy", "random", "--suite", f"{toy}:SUITE", "--videos", "none", "--quiet"]
    assert main([*words, "--episodes", "2", "--results", str(tmp_path / "run")]) == 0
    journal = tmp_path / "run" / "journal.jsonl"
    journal.write_text(journal.read_text().splitlines(keepends=True)[0])
    resume = ["run", "--resume", str(tmp_path / "run"), "--quiet"]
    before = toy.read_text()
    toy.write_text(before.replace("0.01 *", "0.02 *"))
    assert main(resume) == 2
    assert "the simulator's code my_suite.py" in capsys.readouterr().err
    toy.write_text(before)
    assert main(resume) == 0
    assert len(journal.read_text().splitlines()) == 2
    assert main(["verify", str(tmp_path / "run")]) == 0


def test_a_video_shows_what_the_environment_draws(toy, tmp_path):
    (record,) = run(f"{toy}:SUITE", tmp_path / "run", episodes=1, videos="all").records()
    assert (tmp_path / "run" / record.video).stat().st_size > 0


def test_a_folder_with_a_suite_and_its_settings(tmp_path, capsys):
    folder = tmp_path / "line"
    folder.mkdir()
    shutil.copy(TOY, folder / "line_environment.py")
    (folder / "suites.py").write_text(
        '''
from dataclasses import dataclass

from headless_eval import SimulatorSettings, Suite, Task


@dataclass(frozen=True, kw_only=True)
class LineSettings(SimulatorSettings):
    """Settings of the line."""

    spread: float = 0.5
    """How far apart point and mark may begin, in metres."""


def start(settings, num_slots, tasks, **options):
    from line_environment import make_suite

    simulator = make_suite().make(num_slots=num_slots)
    simulator.describe = lambda: {"simulator": "line", "spread": settings.spread}
    return simulator


LINE = Suite("line", "a line", (Task(1, "toy_line", "line", "go", 4),), {"line": start}, "toy_point", LineSettings)
'''
    )
    # The robot is registered by the module of the environment, which a run needs before it starts the simulator.
    (folder / "suites.py").write_text("import line_environment\n" + (folder / "suites.py").read_text())
    words = ["run", "--suite", f"{folder}", "--policy", "zero", "--videos", "none", "--episodes", "1"]
    with pytest.raises(SystemExit):
        main([*words, "--help"])
    assert "How far apart point and mark may begin" in capsys.readouterr().out
    assert main([*words, "--spread", "0.25", "--results", str(tmp_path / "run"), "--quiet"]) == 0
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["settings"]["spread"] == manifest["simulator"]["spread"] == 0.25
    assert manifest["settings"]["suite"] == str(folder)


@pytest.mark.parametrize(
    ("suite", "message"),
    [
        ("{}/my_suite.py:ROBOT", "is a Robot: it has to be a headless_eval.Suite"),
        ("{}/my_suite.py:SUIT", "did you mean SUITE"),
        ("{}/none", r"there is no file .*none/suites.py"),
        ("{}/two", "defines 2 suites: name .*two/suites.py:A or .*two/suites.py:B"),
        ("no_such_module:SUITE", "there is no module no_such_module"),
        ("my_suite", "unknown suite"),
    ],
)
def test_what_is_no_suite_is_told_in_a_line(suite, message, toy, tmp_path):
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "suites.py").write_text(
        "from headless_eval import Suite\nA, B = (Suite(n, '', (), {'s': print}) for n in 'ab')\n"
    )
    with pytest.raises(UserError, match=message):
        run(suite.format(tmp_path), tmp_path / "run")
