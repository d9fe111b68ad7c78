"""Recordings of vla-eval: written in its layout, and by its own code where it is installed."""

import json
import sqlite3

import numpy as np
import pytest
from peer_cases import DETAIL, TASKS, add_result, recording

from headless_eval.results.peers.vla_eval import read

LETTERS = {TASKS[0]: "ssf", TASKS[1]: "sfe"}


def edit(path, *statements):
    with sqlite3.connect(path) as database:
        for statement in statements:
            database.execute(*statement) if isinstance(statement, tuple) else database.execute(statement)
    database.close()
    return path


def test_episodes_have_outcome_seed_steps_and_executed_actions(tmp_path):
    found = read(recording(tmp_path / "recording-x.sqlite", LETTERS))
    assert found.suite == "Toy"
    assert [(task.key, task.name, task.planned, task.max_steps) for task in found.tasks] == [
        ("put_the_cube_in_the_bowl", TASKS[0], 3, 9),
        ("open_the_drawer", TASKS[1], 3, 9),
    ]
    statuses = [one.status for one in found.episodes]
    assert statuses == ["success", "success", "failure", "success", "failure", "error"]
    assert {one.seed for one in found.episodes} == {7}
    assert (found.episodes[0].steps, found.episodes[0].seconds) == (3, 1.5)
    actions = found.actions("open_the_drawer", 1)
    assert actions.dtype == np.float32
    np.testing.assert_array_equal(actions, [[0.0, 0.25], [0.5, 0.25], [1.0, 0.25]])
    assert found.actions("open_the_drawer", 9) is None
    assert not {"seeds", "actions"} & set(found.missing)


def test_an_error_is_kept_with_its_traceback_and_is_no_failure(tmp_path):
    found = read(recording(tmp_path / "recording-x.sqlite", LETTERS))
    error = found.episodes[-1]
    assert error.error == {
        "type": "env_step",
        "message": "RuntimeError: it diverged",
        "traceback": DETAIL,
    }
    assert error.steps is None
    assert found.notes == [
        "vla-eval counts its 1 error as a failure; here an error says nothing about the policy"
    ]


def test_without_seed_and_actions_the_file_says_that_they_are_missing(tmp_path):
    found = read(recording(tmp_path / "recording-x.sqlite", LETTERS, seed=None, actions=False))
    assert {one.seed for one in found.episodes} == {None}
    assert {"seeds", "actions"} <= set(found.missing)
    assert found.actions("open_the_drawer", 0) is None


def test_the_last_result_of_an_episode_counts(tmp_path):
    path = recording(tmp_path / "recording-x.sqlite", LETTERS)
    with sqlite3.connect(path) as database:
        add_result(database, TASKS[1], 1, 2, "s", sid="another shard")
    database.close()
    found = read(path)
    assert [one.status for one in found.episodes if one.task == "open_the_drawer"] == [
        "success",
        "failure",
        "success",
    ]
    assert "1 result left out" in found.notes[-1]


def test_two_tasks_of_one_name_are_told_apart_by_their_numbers(tmp_path):
    path = recording(tmp_path / "recording-x.sqlite", {TASKS[0]: "s"})
    with sqlite3.connect(path) as database:
        add_result(database, TASKS[0], 1, 0, "f")
    database.close()
    assert [task.key for task in read(path).tasks] == [
        "put_the_cube_in_the_bowl_0",
        "put_the_cube_in_the_bowl_1",
    ]


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("DROP TABLE episode_results", "no plain table episode_results"),
        ("DELETE FROM episode_results", "no episode"),
        ("UPDATE episode_results SET status = 'fine'", "status 'fine'"),
        ("UPDATE episode_results SET status = 'success'", "another success in its metrics"),
        ("UPDATE episode_results SET metrics = '{\"success\": 1}'", "another success in its metrics"),
        ("UPDATE episode_results SET metrics = '{'", "not JSON"),
        ("UPDATE episode_results SET episode_id = -1", "episode_id"),
        ("UPDATE episode_results SET episode_id = 'x'", "episode_id"),
        ("UPDATE episode_results SET steps = 'x'", "steps"),
        ("UPDATE episode_results SET eval_id = 'other'", "does not describe"),
        ("UPDATE eval_metadata SET metadata = x'00ff'", "bytes"),
        ("UPDATE eval_metadata SET metadata = '[]'", "Expected|expected"),
    ],
)
def test_what_is_damaged_or_contradicts_itself_is_refused(statement, reason, tmp_path):
    path = edit(recording(tmp_path / "recording-x.sqlite", LETTERS), statement)
    with pytest.raises(ValueError, match=reason):
        read(path)


@pytest.mark.parametrize(
    "fields",
    [
        "{}",
        '{"action": "up"}',
        '{"action": [1e39, 0.25]}',
        '{"action": [true]}',
        '{"action": []}',
        '{"action": [0.1]}',
        "[]",
    ],
)
def test_actions_that_are_no_numbers_of_one_length_are_none(fields, tmp_path):
    path = recording(tmp_path / "recording-x.sqlite", {TASKS[0]: "s"})
    edit(path, ("UPDATE step_rows SET fields = ? WHERE step_id = 1", (fields,)))
    assert read(path).actions("put_the_cube_in_the_bowl", 0) is None


def test_a_recording_of_the_package_itself_is_read(tmp_path):
    package = pytest.importorskip("vla_eval.recording")
    path = package.db_path_for_eval(tmp_path, "real")
    store = package.RecordingStore(path)
    config = {"episodes_per_task": 2, "params": {"seed": 3}, "max_steps": None}
    metadata = {"benchmark": "Toy", "mode": "sync", "config": config, "server_info": {"model": "x"}}
    store.upsert_eval_metadata("real-Toy", "Toy", metadata)
    for episode, status in enumerate(("success", "error")):
        recorder = package.EpisodeRecorder(
            store=store,
            sid="s",
            eid=str(episode),
            eval_id="real-Toy",
            output_dir=tmp_path,
            filename_stem="{benchmark_safe_name}/{episode_id}",
            context={"task_idx": 0, "name": TASKS[0]},
            filename_context=package.recording_filename_context(
                benchmark_safe_name="Toy", task_idx=0, episode_id=episode
            ),
        )
        recorder.record_step(reward=0.0, action=np.array([0.1, -0.2], np.float32))
        recorder.close(
            status=status,
            metrics={"success": status == "success", "distance": np.float32(0.5)},
            task_name=TASKS[0],
            episode_id=episode,
            steps=1,
            elapsed_sec=0.25,
            failure_reason="env_step" if status == "error" else None,
            failure_detail=DETAIL if status == "error" else None,
        )
    store.close()
    found = read(path)
    assert [(one.status, one.seed, one.metrics) for one in found.episodes] == [
        ("success", 3, {"distance": 0.5}),
        ("error", 3, {"distance": 0.5}),
    ]
    np.testing.assert_array_equal(found.actions("put_the_cube_in_the_bowl", 0), np.float32([[0.1, -0.2]]))
    assert json.dumps(found.about)  # ready for the manifest
