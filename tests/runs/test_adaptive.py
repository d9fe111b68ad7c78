"""Runs with adaptive levels: the trials depend on outcomes alone, not on slots, order or interruptions."""

import shutil

import graded_suite
import pytest
from graded_suite import Threshold
from paths import ROOT

from headless_eval import evaluate
from headless_eval.cli.main import main
from headless_eval.errors import UserError
from headless_eval.report.psychometric import curves_of
from headless_eval.results import RunDirectory
from headless_eval.runs.evaluator import Evaluator

SUITE = f"{ROOT / 'tests' / 'graded_suite.py'}:SUITE"
VARIANTS = ["float32", "coarse=float32+threshold=2.4"]
PLAIN = {"suite": SUITE, "variants": VARIANTS, "episodes": 100, "videos": "none", "seed": 5}


def run(folder, **changes):
    settings = PLAIN | {"until_width": ["0.8mm"], "results": folder} | changes
    return evaluate(Threshold(), **settings)


def trials(folder):
    return [record.trial for record in RunDirectory.open(folder).records()]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("adaptive") / "run"
    run(folder, slots=4)
    return folder


def test_levels_are_run_until_the_threshold_is_known(finished):
    directory = RunDirectory.open(finished)
    states = directory.manifest["levels"]
    assert [(state["configuration"], state["family"]) for state in states] == [
        ("float32", "insert"),
        ("coarse", "insert"),
    ]
    assert all(state["reached"] and state["width"] <= 0.8 for state in states)
    records = directory.records()
    assert 12 <= len(records) < 250
    for one, truth in zip(curves_of(records, directory.manifest, "float32"), (1.0, 2.4), strict=True):
        low, high = one.fit.threshold.low or 0.5, one.fit.threshold.high
        assert high - low <= 0.8
        assert 0.7 * low < truth < 1.4 * high
    of_level = {task: sum(record.task_id == task for record in records) for task in range(31, 36)}
    assert of_level[31] < of_level[33]  # nobody learns from what always succeeds


def test_variants_meet_the_same_episodes(finished):
    one, other = (
        {(task, episode) for name, task, episode in trials(finished) if name == variant}
        for variant in ("float32", "coarse")
    )
    for mine in (one, other):
        for task in range(31, 36):
            numbers = sorted(episode for of, episode in mine if of == task)
            assert numbers == list(range(len(numbers)))
    assert one & other


@pytest.mark.parametrize("changes", [{"slots": 1}, {"slots": 7}, {"variants": VARIANTS[::-1]}])
def test_slots_and_order_change_no_trial(finished, tmp_path, changes):
    run(tmp_path / "other", **changes)
    assert set(trials(tmp_path / "other")) == set(trials(finished))


def test_another_seed_is_another_run(finished, tmp_path):
    run(tmp_path / "other", seed=6)
    assert set(trials(tmp_path / "other")) != set(trials(finished))


@pytest.mark.parametrize("kept", [4, 40, *(pytest.param(one, marks=pytest.mark.slow) for one in (0, 6, 11))])
def test_an_interrupted_run_goes_on_to_the_same_trials(finished, tmp_path, kept):
    folder = shutil.copytree(finished, tmp_path / "run")
    journal = folder / "journal.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(lines[:kept]))
    with RunDirectory.open(folder, write=True) as directory:
        directory.update_manifest(status="interrupted")
    evaluate(Threshold(), resume=folder)
    assert trials(folder) == trials(finished)


def test_a_level_without_episodes_left_ends_the_search(tmp_path):
    run(tmp_path / "run", episodes=3, until_width=["0.01mm"])
    directory = RunDirectory.open(tmp_path / "run")
    assert len(directory.records()) == 30
    assert all(state["exhausted"] and not state["reached"] for state in directory.manifest["levels"])


@pytest.mark.parametrize(
    ("widths", "said"),
    [
        (["0.5s"], "the levels of insert are in mm; write insert=0.5mm"),
        (["thread=0.5mm"], "unknown family of graded tasks 'thread'"),
        (["0mm"], "above 0, such as 0.5mm"),
        (["wide"], "write WIDTH or FAMILY=WIDTH"),
    ],
)
def test_widths_that_do_not_fit_are_refused_before_a_policy_is_loaded(tmp_path, monkeypatch, widths, said):
    monkeypatch.setattr(Evaluator, "load_policy", None)
    with pytest.raises(UserError, match=said):
        run(tmp_path / "run", until_width=widths)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (
            ["--until-width", "1mm"],
            "scene_1 is not such a task: choose others with --tasks, or another suite",
        ),
        (["--sequential", "0.05", "--sequential-on", "final_eror=20mm"], "did you mean final_error?"),
    ],
)
def test_what_does_not_fit_the_suite_is_one_line_before_a_policy_is_loaded(
    tmp_path, monkeypatch, capsys, flags, said
):
    monkeypatch.setattr(Evaluator, "load_policy", None)
    assert main(["run", "--results", str(tmp_path / "run"), "--videos", "none", *flags]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert said in error


def test_one_level_is_no_scale_and_two_choosers_are_refused(tmp_path):
    with pytest.raises(UserError, match="two or more levels of a family, and insert_8 is not such a task"):
        run(tmp_path / "run", tasks=["31"])
    with pytest.raises(UserError, match="give one of them"):
        run(tmp_path / "run", sequential=0.1)


def test_success_over_chosen_levels_is_not_judged(finished, capsys):
    assert main(["gate", str(finished)]) == 2
    assert "success over them does not compare" in capsys.readouterr().err
    assert main(["report", str(finished)]) == 0
    out = capsys.readouterr().out
    assert "Levels were chosen by what had succeeded before" in out
    assert "insert, mm: coarse needs" in out
    assert "incomplete" not in out


def test_a_run_stops_early_on_a_bounded_outcome(tmp_path):
    changes = {"until_width": [], "sequential": 0.1, "sequential_on": "time", "tasks": ["33", "34"]}
    run(tmp_path / "run", **changes)
    directory = RunDirectory.open(tmp_path / "run")
    stop = directory.manifest["sequential"]["configurations"]["coarse"]
    assert (stop["decision"], stop["outcome"]) == ("worse", "time")
    assert len(directory.records()) < 400
    with pytest.raises(UserError, match="unknown outcome"):
        run(tmp_path / "wrong", **changes | {"sequential_on": "tim=1"})
    assert not (tmp_path / "wrong").exists()


def test_what_was_run_by_its_outcomes_is_not_certified(finished, capsys):
    assert main(["certify", str(finished)]) == 2
    assert "depends on outcomes that a certificate does not state" in " ".join(
        capsys.readouterr().err.split()
    )


def test_the_suite_is_what_its_curve_says():
    simulator = graded_suite.Lucky(num_slots=1)
    assert [task.difficulty.value for task in simulator.tasks] == [8.0, 4.0, 2.0, 1.0, 0.5]
