"""The gate, on journals made up."""

import json
from xml.etree import ElementTree

import numpy as np
import pytest
from record_cases import CONFIGURATIONS, TASKS, manifest, record

from headless_eval.cli.main import main
from headless_eval.results import RunDirectory
from headless_eval.sims.perturbation import perturbed


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["gate", "/no/such"], "holds no run"),
        (["gate", "{run}", "--max-drop", "1.5"], "--max-drop"),
        (["gate", "{run}"], "nothing to judge"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(arguments, word, finished, capsys):
    assert main([argument.format(run=finished) for argument in arguments]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert word in said


def made_up(folder, drops, episodes=40, errors=0):
    """A run where int8 fails in so many episodes in which float32 succeeds."""
    other = CONFIGURATIONS[1].name
    with RunDirectory.create(folder, manifest(episodes=episodes, tasks=TASKS[1:])) as run:
        for episode in range(episodes):
            run.append(record(episode=episode))
            status = "error" if episode < errors else "failure" if episode < errors + drops else "success"
            error = {"type": "X", "message": "m", "traceback": "t"} if status == "error" else None
            run.append(
                record(
                    episode=episode,
                    configuration=other,
                    status=status,
                    success=status == "success",
                    error=error,
                )
            )
    return folder


@pytest.mark.parametrize(
    ("drops", "max_drop", "outcome"),
    [
        (0, "0.1", "passed"),
        (0, "0.05", "inconclusive"),
        (4, "0.05", "inconclusive"),
        (12, "0.05", "failed"),
        (12, "0.3", "inconclusive"),
        (12, "0.5", "passed"),
        (40, "0.05", "failed"),
    ],
)
def test_the_gate_passes_what_is_shown_to_lie_within_the_allowed_drop(
    tmp_path, drops, max_drop, outcome, capsys
):
    folder = made_up(tmp_path / "run", drops)
    junit = tmp_path / "out" / "junit.xml"
    status = 0 if outcome == "passed" else 1
    assert main(["gate", str(folder), "--max-drop", max_drop, "--junit", str(junit)]) == status
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [["passed", "float32"], [outcome, "boolean_both"]]
    suite = ElementTree.parse(junit).getroot().find("testsuite")
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("2", str(status), "0")
    assert [case.get("name") for case in suite.iter("testcase")] == ["float32", "boolean_both"]
    assert [failure.get("type") for failure in suite.iter("failure")] == [outcome] * status


def test_an_inconclusive_gate_says_how_many_episodes_would_decide(tmp_path, capsys):
    assert main(["gate", str(made_up(tmp_path / "few", 0, episodes=30))]) == 1
    out = capsys.readouterr().out
    assert "a drop of 5 points is neither shown nor ruled out" in out
    assert "about 73 paired episodes would decide" in out


def test_the_gate_does_not_pass_what_broke_or_is_not_whole(tmp_path, capsys):
    assert main(["gate", str(made_up(tmp_path / "broken", 0, errors=1))]) == 1
    assert "1 of 40 episodes ended in an error" in capsys.readouterr().out
    folder = made_up(tmp_path / "cut", 0)
    journal = folder / "journal.jsonl"
    journal.write_text("".join(journal.read_text().splitlines(keepends=True)[:-1]))
    assert main(["gate", str(folder)]) == 1
    assert "39 of 40 episodes have run" in capsys.readouterr().out


def test_the_junit_file_is_well_formed_whatever_the_names(tmp_path, capsys):
    evil = "run \x01\x1b[31m\x0c\ufffe"
    folder = made_up(tmp_path / evil, 0)
    journal, manifest_file = folder / "journal.jsonl", folder / "manifest.json"
    name = CONFIGURATIONS[1].name
    for path in (journal, manifest_file):
        path.write_text(path.read_text().replace(f'"{name}"', f'"{name}\\u0007\\u001b[2J"'))
    junit = tmp_path / "junit.xml"
    assert main(["gate", str(folder), "--max-drop", "0.1", "--junit", str(junit)]) == 0
    suite = ElementTree.parse(junit).getroot().find("testsuite")
    assert suite.get("name") == r"run \x01\x1b[31m\x0c\ufffe"
    assert [case.get("name") for case in suite.iter("testcase")] == ["float32", rf"{name}\x07\x1b[2J"]
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize("changes", [{"task_id": 9}, {"episode": 1000}])
def test_episodes_that_the_run_does_not_have_stand_for_none_that_it_has(changes, tmp_path, capsys):
    folder = made_up(tmp_path / "run", 0)
    journal = folder / "journal.jsonl"
    *lines, last = journal.read_text().splitlines()
    journal.write_text("\n".join([*lines, json.dumps(json.loads(last) | changes)]) + "\n")
    assert main(["gate", str(folder), "--max-drop", "0.5"]) == 1
    assert "1 episodes in the journal are none of the manifest's" in capsys.readouterr().out


def with_outcomes(folder, factor, episodes=40, **more):
    """A run in which int8's paths are so many times as long as float32's, and everything succeeds."""
    other = CONFIGURATIONS[1].name
    generator = np.random.default_rng(1)
    changes = manifest(episodes=episodes, tasks=TASKS[1:], metrics={"path_length": "rad"}, **more)
    with RunDirectory.create(folder, changes) as run:
        for episode in range(episodes):
            length, noise = generator.lognormal(1, 0.2), generator.lognormal(0, 0.1)
            run.append(record(episode=episode, metrics={"path_length": length}))
            changed = {"path_length": length * factor * noise}
            run.append(record(episode=episode, configuration=other, metrics=changed))
    return folder


@pytest.mark.parametrize(
    ("factor", "margin", "outcome"),
    [
        (1.0, "path_length=10%", "passed"),
        (0.5, "path_length=10%", "passed"),
        (1.0, "path_length=0.5rad", "passed"),
        (1.3, "path_length=10%", "failed"),
        (1.3, "path_length=0.2", "failed"),
        (1.1, "path_length=10%", "inconclusive"),
    ],
)
def test_a_change_passes_if_it_is_shown_to_lie_within_its_margin(tmp_path, factor, margin, outcome, capsys):
    folder, junit = with_outcomes(tmp_path / "run", factor), tmp_path / "junit.xml"
    words = ["gate", str(folder), "--max-drop", "0.1", "--max-change", margin, "--junit", str(junit)]
    assert main(words) == (0 if outcome == "passed" else 1)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["passed", "passed", outcome]
    assert lines[2].split()[1:3] == ["boolean_both", "path_length"]
    assert ("pairs would decide" in lines[2] or "too close" in lines[2]) == (outcome == "inconclusive")
    cases = {case.get("name"): case for case in ElementTree.parse(junit).getroot().iter("testcase")}
    assert list(cases) == ["float32", "boolean_both", "boolean_both path_length"]
    assert (cases["boolean_both path_length"].find("failure") is None) == (outcome == "passed")


def test_every_margin_counts_also_of_a_flag_that_is_repeated(tmp_path, capsys):
    folder = str(with_outcomes(tmp_path / "run", 1.0))
    margins = ["--max-change", "path_length=10%", "--max-change", "path_length=0.001rad"]
    assert main(["gate", folder, "--max-drop", "0.1", *margins]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["passed", "passed", "passed", "inconclusive"]


def test_a_wrong_outcome_is_one_line_and_exit_2(tmp_path, capsys):
    folder = str(with_outcomes(tmp_path / "run", 1.0))
    assert main(["gate", folder, "--max-change", "path_lenght=10%"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "did you mean path_length" in said


def test_without_a_common_success_there_are_no_times(tmp_path, capsys):
    with RunDirectory.create(tmp_path / "run", manifest(episodes=2, tasks=TASKS[1:])) as run:
        for episode in range(2):
            run.append(record(episode=episode, metrics={"time_to_success_s": 2.0}))
            run.append(
                record(configuration=CONFIGURATIONS[1].name, episode=episode, status="failure", success=False)
            )
    assert main(["gate", str(tmp_path / "run"), "--max-change", "time_to_success=10%"]) == 1
    assert "no pair of episodes succeeds in both, so there are no times" in capsys.readouterr().out


def test_few_different_pairs_and_early_stops_are_inconclusive(tmp_path, capsys):
    few = str(with_outcomes(tmp_path / "few", 1.0, episodes=5))
    assert main(["gate", few, "--max-drop", "0.9", "--max-change", "path_length=90%"]) == 1
    assert "5 of 5 pairs differ, 6 have to" in capsys.readouterr().out
    stopped = str(with_outcomes(tmp_path / "stopped", 1.0, settings={"sequential": 0.1}))
    assert main(["gate", stopped, "--max-drop", "0.5", "--max-change", "path_length=10%"]) == 1
    assert "run without --sequential" in capsys.readouterr().out


@pytest.mark.parametrize("swept", [True, False])
def test_a_sweep_is_said_to_count_as_one(swept, tmp_path, capsys):
    tasks = [TASKS[0], perturbed(TASKS[0], (("light", 1),) if swept else ())]
    with RunDirectory.create(tmp_path / "run", manifest(episodes=1, tasks=tasks)) as run:
        for configuration in CONFIGURATIONS:
            for task in tasks:
                run.append(record(configuration=configuration.name, task_id=task.id, task_key=task.key))
    main(["gate", str(tmp_path / "run")])
    assert ("All conditions of the sweep count together" in capsys.readouterr().out) == swept
