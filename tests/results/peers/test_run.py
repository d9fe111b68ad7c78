"""Files of other evaluators as the variants of a run."""

import sqlite3

import pytest
from peer_cases import DATA, TASKS, eval_info, recording, write_eval_info

from headless_eval.errors import UserError
from headless_eval.results import open_run, open_runs
from headless_eval.results.pairing import pair, same_episode
from headless_eval.results.peers import find_file

NEW, OLD = DATA / "lerobot_0.4.4", DATA / "lerobot_0.3.3"


def paired(run):
    first, second = run.variants
    records = run.records()
    sides = [[one for one in records if one.configuration == name] for name in (second, first)]
    return pair(*sides)


def test_files_are_named_by_the_folders_that_tell_them_apart(tmp_path):
    run = open_runs([str(NEW / "float32" / "eval_info.json"), str(NEW / "int8")])
    assert run.variants == ["float32", "int8"]
    assert run.baseline == "float32"
    paths = [tmp_path / one / "eval" / "eval_info.json" for one in ("step 1", "step 2")]
    for path in paths:
        write_eval_info(path, eval_info({"0": [True]}))
    assert open_runs(paths).variants == ["step_1_eval", "step_2_eval"]
    assert open_runs([f"a={paths[0]}", f"b={paths[1]}"]).variants == ["a", "b"]
    with pytest.raises(UserError, match="two files are named a: give names"):
        open_runs([f"a={paths[0]}", f"a={paths[1]}"])
    one = [recording(tmp_path / f"recording-{name}.sqlite", {TASKS[0]: "s"}) for name in ("x", "y")]
    assert [name.rpartition("_")[2] for name in open_runs(one).variants] == ["x", "y"]


def test_seeds_pair_and_their_absence_does_not_unless_the_user_says_so():
    old = paired(open_runs([OLD / "float32", OLD / "int8"]))
    assert (len(old.matched), len(old.unmatched), len(old.unknown)) == (8, 0, 0)
    new = paired(open_runs([NEW / "float32", NEW / "int8"]))
    assert (len(new.matched), len(new.unmatched), len(new.unknown)) == (0, 0, 18)
    said = paired(open_runs([NEW / "float32", NEW / "int8"], assume_paired=True))
    assert (len(said.matched), len(said.unmatched), len(said.unknown)) == (18, 0, 0)


def test_seeds_that_differ_are_not_paired_whatever_the_user_says(tmp_path):
    paths = [recording(tmp_path / f"recording-{seed}.sqlite", {TASKS[0]: "ss"}, seed=seed) for seed in (7, 8)]
    found = paired(open_runs(paths, assume_paired=True))
    assert (len(found.matched), len(found.unmatched), len(found.unknown)) == (0, 2, 0)


def test_tasks_pair_by_their_names_in_whatever_order_the_files_have_them(tmp_path):
    one = write_eval_info(tmp_path / "a" / "eval_info.json", eval_info({"0": [True], "1": [False]}))
    two = write_eval_info(tmp_path / "b" / "eval_info.json", eval_info({"1": [False], "0": [True]}))
    found = paired(open_runs([one, two], assume_paired=True))
    assert [(a.task_key, a.success == b.success) for a, b in found.matched] == [
        ("libero_spatial_0", True),
        ("libero_spatial_1", True),
    ]
    apart = [open_run(path, assume_paired=True).records()[0] for path in (one, two)]
    assert not same_episode(*apart)  # each is the first task of its file


def test_what_is_not_recorded_is_none_and_is_said():
    run = open_run(NEW / "int8")
    fields = run.records()[0].to_dict()
    missing = (
        "task_id",
        "dtype",
        "seed",
        "steps",
        "max_steps",
        "replans",
        "actions_sha256",
        "total_s",
        "started_at",
    )
    assert [fields[name] for name in missing] == [None] * len(missing)
    assert fields["metrics"] == {"sum_reward": 1.0, "max_reward": 1.0}
    assert run.manifest["seed"] is None
    assert run.manifest["metrics"] == {"sum_reward": "", "max_reward": ""}  # without units
    assert "does not record seeds, initial states, actions, steps, times" in run.notes[0]
    assert "--assume-paired" in run.notes[1]
    assert "assumed" in open_run(NEW / "int8", assume_paired=True).notes[1]
    assert len(open_run(OLD / "int8").notes) == 1
    assert (run.planned, run.baseline, run.is_running, run.stopping()) == (18, "policy", False, None)


def test_the_actions_of_a_recording_are_those_of_its_variant(tmp_path):
    files = [
        recording(tmp_path / f"recording-{gain}.sqlite", {TASKS[0]: "s"}, gain=gain) for gain in (0.5, 0.25)
    ]
    run = open_runs([f"{name}={file}" for name, file in zip("ab", files, strict=True)])
    steps = {one.configuration: run.actions(one)[2, 0] for one in run.records()}
    assert steps == {"a": 1.0, "b": 0.5}


def test_actions_that_are_damaged_are_said_to_be(tmp_path):
    path = recording(tmp_path / "recording-x.sqlite", {TASKS[0]: "ss"})
    with sqlite3.connect(path) as database:
        database.execute("UPDATE step_rows SET fields = '{' WHERE eid = '0-1'")
    database.close()
    run = open_run(path)
    first, second = run.records()
    assert run.actions(first).shape == (3, 2)
    with pytest.raises(
        UserError, match=r"recording-x.sqlite: the actions cannot be read: a step is not JSON"
    ):
        run.actions(second)


def test_files_that_do_not_belong_together_are_refused(tmp_path):
    other = write_eval_info(tmp_path / "o" / "eval_info.json", eval_info({"0": [True]}, "libero_goal"))
    for paths in (
        [NEW / "int8", other],
        [NEW / "int8", recording(tmp_path / "recording-x.sqlite", {"a": "s"})],
    ):
        with pytest.raises(UserError, match="nothing compares"):
            open_runs(paths)


def test_a_folder_stands_for_the_only_file_in_it(tmp_path):
    assert find_file(tmp_path) is None
    first = recording(tmp_path / "recording-x.sqlite", {TASKS[0]: "s"})
    assert find_file(tmp_path) == first
    recording(tmp_path / "recording-y.sqlite", {TASKS[0]: "s"})
    with pytest.raises(UserError, match="name one of them"):
        find_file(tmp_path)
