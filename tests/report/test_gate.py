"""The gate, on journals made up."""

from xml.etree import ElementTree

import pytest
from record_cases import CONFIGURATIONS, TASKS, manifest, record

from headless_eval.cli.main import main
from headless_eval.results import RunDirectory


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
    ("drops", "max_drop", "status"),
    [(0, "0.05", 0), (4, "0.05", 0), (12, "0.05", 1), (12, "0.3", 0), (40, "0.05", 1)],
)
def test_the_gate_fails_on_drops_that_are_large_and_significant(tmp_path, drops, max_drop, status, capsys):
    folder = made_up(tmp_path / "run", drops)
    junit = tmp_path / "out" / "junit.xml"
    assert main(["gate", str(folder), "--max-drop", max_drop, "--junit", str(junit)]) == status
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["passed", "float32"],
        ["failed" if status else "passed", "boolean_both"],
    ]
    suite = ElementTree.parse(junit).getroot().find("testsuite")
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("2", str(status), "0")
    assert [case.get("name") for case in suite.iter("testcase")] == ["float32", "boolean_both"]
    assert len(list(suite.iter("failure"))) == status


def test_the_gate_does_not_pass_what_too_few_episodes_cannot_show(tmp_path, capsys):
    assert main(["gate", str(made_up(tmp_path / "few", 3, episodes=3))]) == 1
    out = capsys.readouterr().out
    assert "error " in out
    assert "too few pairs to show any drop" in out


def test_the_gate_does_not_pass_what_broke_or_is_not_whole(tmp_path, capsys):
    assert main(["gate", str(made_up(tmp_path / "broken", 0, errors=1))]) == 1
    assert "1 of 40 episodes ended in an error" in capsys.readouterr().out
    folder = made_up(tmp_path / "cut", 0)
    journal = folder / "journal.jsonl"
    journal.write_text("".join(journal.read_text().splitlines(keepends=True)[:-1]))
    assert main(["gate", str(folder)]) == 1
    assert "39 of 40 episodes have run" in capsys.readouterr().out
