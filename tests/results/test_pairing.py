"""Only the same episodes are compared in pairs: task, number, seed and initial state."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from record_cases import CONFIGURATIONS, TASKS, broken, manifest, record

from headless_eval.cli.main import main
from headless_eval.report.compare import compare_two
from headless_eval.report.page.episodes import embed
from headless_eval.report.summary import summarize
from headless_eval.results import EpisodeRecord, RunDirectory
from headless_eval.results.pairing import pair, same_episode
from headless_eval.results.stopping import Stopping

OTHER = CONFIGURATIONS[1].name
HERE, THERE = "a" * 64, "b" * 64
STRANGE = [{"seed": 8}, {"initial_state_sha256": THERE}]


def a_run(folder: Path, **changes: object) -> Path:
    """Write a run of 40 episodes each, of which the other variant's last ten are changed."""
    with RunDirectory.create(folder, manifest(episodes=40, tasks=TASKS[1:])) as run:
        for episode in range(40):
            one = record(episode=episode, initial_state_sha256=HERE)
            run.append(one)
            run.append(replace(one, configuration=OTHER, **(changes if episode >= 30 else {})))
        run.finish(0)
    return folder


def records_of(folder: Path) -> list[EpisodeRecord]:
    return RunDirectory.open(folder).records()


def test_task_number_seed_and_initial_state_have_to_agree() -> None:
    one = record(initial_state_sha256=HERE)
    assert same_episode(one, replace(one, configuration=OTHER, success=False, status="failure"))
    for changes in ({"task_id": 2}, {"episode": 1}, *STRANGE):
        assert not same_episode(one, replace(one, **changes))
    # A journal of an earlier version states no initial state.
    assert same_episode(one, record())
    assert same_episode(record(), one)


def test_errors_and_lone_episodes_are_neither_pairs_nor_strangers() -> None:
    ours = [record(), record(episode=1), broken(episode=2), record(episode=3), record(episode=4, seed=8)]
    theirs = [record(), broken(episode=1), record(episode=2), record(episode=4)]
    found = pair(ours, theirs)
    assert found.matched == [(ours[0], theirs[0])]
    assert found.unmatched == [ours[4]]


@pytest.mark.parametrize("changes", STRANGE)
def test_a_report_counts_other_episodes_as_unpaired_and_says_so(
    changes: dict[str, object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = a_run(tmp_path / "run", **changes)
    row = summarize("droid", records_of(folder)).row(OTHER)
    assert row.comparison is not None
    assert (row.comparison.pairs, row.unpaired, row.episodes) == (30, 10, 40)
    assert main(["report", str(folder)]) == 0
    said = f"Not paired with float32, as seed or initial state differ: episodes of {OTHER} 10."
    assert said in capsys.readouterr().out
    assert said in (folder / "report.html").read_text()


@pytest.mark.parametrize("changes", STRANGE)
def test_the_gate_refuses_other_episodes(
    changes: dict[str, object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["gate", str(a_run(tmp_path / "good")), "--max-drop", "0.1"]) == 0
    assert main(["gate", str(a_run(tmp_path / "strange", **changes)), "--max-drop", "0.1"]) == 1
    assert "10 of 40 episodes are not float32's: seed or initial state differ" in capsys.readouterr().out


@pytest.mark.parametrize("changes", STRANGE)
def test_two_runs_are_compared_over_the_same_episodes(
    changes: dict[str, object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = a_run(tmp_path / "good"), a_run(tmp_path / "strange", **changes)
    rows = compare_two(*map(RunDirectory.open, folders)).rows
    pairs = {row.configuration: (row.comparison and row.comparison.pairs, row.unpaired) for row in rows}
    assert pairs == {"float32": (40, 0), OTHER: (30, 10)}
    assert main(["compare", *map(str, folders)]) == 0
    assert "10 episodes of B are not paired with A's" in capsys.readouterr().out
    assert main(["compare", "--json", *map(str, folders)]) == 0
    assert [row["unpaired"] for row in json.loads(capsys.readouterr().out)["rows"]] == [0, 10]


@pytest.mark.parametrize("changes", STRANGE)
def test_a_sequential_test_is_not_fed_with_other_episodes(changes: dict[str, object], tmp_path: Path) -> None:
    stopping = Stopping(["float32", OTHER], [1], 0.5)
    for one in records_of(a_run(tmp_path / "run", **changes)):
        stopping.add(one)
    assert len(stopping.pairs[OTHER]) <= 30
    fed = Stopping(["float32", OTHER], [1], 0.001)
    for one in records_of(tmp_path / "run"):
        fed.add(one)
    assert len(fed.pairs[OTHER]) == 30


def test_the_page_does_not_pair_other_episodes(tmp_path: Path) -> None:
    folder = a_run(tmp_path / "run", seed=8)
    blocks = json.loads(embed(records_of(folder)))["blocks"]
    assert [block["alone"] for block in blocks] == [[], list(range(30, 40))]


def test_verify_names_another_initial_state(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = []
    for name, state in (("one", HERE), ("two", THERE)):
        settings = {"open_loop_horizon": 8}
        with RunDirectory.create(tmp_path / name, manifest(settings=settings)) as run:
            run.append(record(initial_state_sha256=state))
        folders.append(str(tmp_path / name))
    assert main(["verify", *folders]) == 1
    assert "another initial state" in capsys.readouterr().out


def test_a_run_records_the_state_that_each_episode_starts_from(finished: Path) -> None:
    states: dict[tuple[int, int], set[str | None]] = {}
    for one in RunDirectory.open(finished).records():
        states.setdefault((one.task_id, one.episode), set()).add(one.initial_state_sha256)
    assert all(len(found) == 1 and None not in found for found in states.values())
    assert len(set.union(*states.values())) == len(states)
