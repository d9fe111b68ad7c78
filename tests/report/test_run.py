"""A run as an object for notebooks."""

import numpy as np
import pytest

from headless_eval import UserError, read_run
from headless_eval.results import RunDirectory


def test_it_holds_what_the_folder_holds(finished):
    run, directory = read_run(finished), RunDirectory.open(finished)
    assert run.path == finished
    assert run.records() == directory.records()
    assert len(run.episodes) == 6
    assert run.summary.query("task == 'all'").episodes.tolist() == [6]
    assert (run.suite, run.variants, run.baseline) == ("droid", ["float32"], "float32")


def test_the_actions_of_an_episode_are_found_in_any_way(finished):
    run = read_run(finished)
    record = run.records()[4]
    expected = RunDirectory.open(finished).actions(record)
    row = run.episodes.iloc[4]
    key, number = (record.configuration, record.task_key, record.episode), record.trial
    for episode in (4, np.int64(4), row, record, key, number):
        assert np.array_equal(run.actions(episode), expected)


@pytest.mark.parametrize(
    ("episode", "words"),
    [
        (6, "has 6 episodes"),
        (-1, "no episode -1"),
        (("int8_both", "scene_1", 0), "int8_both"),
        ("float32", "a row of episodes"),
    ],
)
def test_an_episode_that_is_not_there_is_named(finished, episode, words):
    with pytest.raises(UserError, match=words):
        read_run(finished).actions(episode)


def test_actions_that_were_not_kept_are_said_so(run_folder):
    with pytest.raises(UserError, match="does not hold the actions of float32, scene_1, episode 0"):
        read_run(run_folder).actions(0)


def test_it_shows_itself(run_folder):
    run = read_run(run_folder)
    assert "int8_both" in str(run)
    assert str(run).endswith(str(run_folder))
    assert str(run_folder) in repr(run)
    assert "<table" in run._repr_html_()


def test_the_report_is_rebuilt(run_folder):
    page = read_run(run_folder).report()
    assert page == run_folder / "report.html"
    assert page.is_file()


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(UserError, match="holds no run"):
        read_run(tmp_path)
