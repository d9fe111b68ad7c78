"""A run's rollouts become a LeRobot dataset, and come back out of it."""

import json
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest

from headless_eval.cli.main import main
from headless_eval.contracts.seeding import TrialSeed
from headless_eval.contracts.simulator import StepResult, Task
from headless_eval.errors import UserError
from headless_eval.results import RunDirectory
from headless_eval.rollout.replay import replay

EXTERIOR = "observation.images.exterior_image_1_left"
WRIST = "observation.images.wrist_image_left"


@pytest.fixture(scope="module")
def dataset(run, tmp_path_factory):
    pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    out = tmp_path_factory.mktemp("datasets") / "rollouts"
    out.mkdir()  # an empty folder is taken
    assert main(["export", str(run), "--lerobot", str(out), "--dataset-version", "v2.1"]) == 0
    return out


@pytest.fixture
def copy(run, tmp_path):
    pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    return shutil.copytree(run, tmp_path / "copy")


def edit(folder, index, **changes):
    """Change the journal's record of a trial."""
    journal = folder / "journal.jsonl"
    records = RunDirectory.open(folder).records()
    records[index] = replace(records[index], **changes)
    journal.write_text("".join(record.to_json() + "\n" for record in records))


def read(dataset, episode):
    from pyarrow import parquet

    return parquet.read_table(dataset / f"data/chunk-000/episode_{episode:06d}.parquet")


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_info_says_what_is_there(dataset, run):
    info = json.loads((dataset / "meta/info.json").read_text())
    size = json.loads((run / "manifest.json").read_text())["simulator"]["image_size"]
    totals = {name: value for name, value in info.items() if name.startswith("total_")}
    assert totals == {
        "total_episodes": 2,
        "total_frames": 32,
        "total_tasks": 1,
        "total_videos": 4,
        "total_chunks": 1,
    }
    assert (info["codebase_version"], info["fps"], info["splits"]) == ("v2.1", 15, {"train": "0:2"})
    for episode in range(2):
        names = {"episode_chunk": 0, "episode_index": episode}
        assert (dataset / info["data_path"].format(**names)).is_file()
        for camera in (EXTERIOR, WRIST):
            assert (dataset / info["video_path"].format(**names, video_key=camera)).is_file()
    features = info["features"]
    for camera in (EXTERIOR, WRIST):
        assert (features[camera]["dtype"], features[camera]["shape"]) == ("video", [size, size, 3])
        assert features[camera]["info"]["video.fps"] == 15
    assert features["observation.state"]["names"] == [
        *(f"joint_position_{joint}" for joint in range(7)),
        "gripper_position",
    ]
    assert {"meta", "data", "videos"} == {path.name for path in dataset.iterdir()}


def test_the_tables_hold_the_features_as_stated(dataset):
    info = json.loads((dataset / "meta/info.json").read_text())
    for episode in range(2):
        table = read(dataset, episode)
        stated = {name: feature for name, feature in info["features"].items() if feature["dtype"] != "video"}
        assert set(table.column_names) == set(stated)
        for name, feature in stated.items():
            kind = str(table.schema.field(name).type)
            arrow = {"float32": "float", "int64": "int64", "bool": "bool"}[feature["dtype"]]
            if feature["shape"] == [1]:
                assert kind == arrow
            else:
                assert kind.startswith(f"fixed_size_list<element: {arrow}")
                assert kind.endswith(f"[{feature['shape'][0]}]")
        assert table.num_rows == 16
        assert table.column("index").to_pylist() == list(range(16 * episode, 16 * episode + 16))
        assert table.column("frame_index").to_pylist() == list(range(16))
        assert set(table.column("episode_index").to_pylist()) == {episode}
        assert set(table.column("task_index").to_pylist()) == {0}
        assert np.allclose(table.column("timestamp").to_numpy(), np.arange(16) / 15)
        assert table.column("next.done").to_pylist() == [False] * 15 + [True]
        assert table.column("next.success").to_pylist() == [False] * 16


def test_actions_are_those_recorded_and_states_those_of_the_simulator(dataset, run):
    from headless_eval.sims.registry import find_suite

    suite = find_suite("droid")
    task = next(task for task in suite.load_tasks() if task.id == 2)
    info = json.loads((dataset / "meta/info.json").read_text())
    simulator = suite.make(None, num_slots=1, image_size=info["features"][EXTERIOR]["shape"][0])
    recorded = np.fromfile(run / "actions/float32.f32", "<f4").reshape(2, 16, 8)
    for episode in range(2):
        table = read(dataset, episode)
        actions = np.stack(table.column("action").to_numpy())
        assert np.array_equal(actions, recorded[episode])
        simulator.reset(0, task, TrialSeed(7, 2, episode))
        states = []
        for action in recorded[episode]:
            (seen,) = simulator.observe([0])
            states.append([*seen["observation/joint_position"], *seen["observation/gripper_position"]])
            simulator.step({0: action})
        assert np.array_equal(np.stack(table.column("observation.state").to_numpy()), states)
        for camera, key in ((EXTERIOR, "exterior_image_1_left"), (WRIST, "wrist_image_left")):
            last = decode(dataset / f"videos/chunk-000/{camera}/episode_{episode:06d}.mp4")[-1]
            assert np.abs(last.astype(float) - seen[f"observation/{key}"]).mean() < 6
    simulator.close()


def decode(path):
    """Return the pictures of a video, uint8 (frames, height, width, 3)."""
    import imageio_ffmpeg

    reader = imageio_ffmpeg.read_frames(str(path))
    facts = next(reader)
    width, height = facts["size"]
    assert (facts["fps"], facts["codec"]) == (15, "h264")
    return [np.frombuffer(frame, np.uint8).reshape(height, width, 3) for frame in reader]


def test_the_videos_have_a_picture_per_step_and_the_statistics_are_theirs(dataset):
    stats = lines(dataset / "meta/episodes_stats.jsonl")
    assert [entry["episode_index"] for entry in stats] == [0, 1]
    for entry in stats:
        index = entry["episode_index"]
        for camera in (EXTERIOR, WRIST):
            frames = decode(dataset / f"videos/chunk-000/{camera}/episode_{index:06d}.mp4")
            assert len(frames) == 16
            found = entry["stats"][camera]
            assert np.shape(found["mean"]) == (3, 1, 1)
            assert found["count"] == [16]
            pixels = np.stack(frames).reshape(-1, 3) / 255
            assert np.allclose(np.ravel(found["mean"]), pixels.mean(axis=0), atol=0.02)
            assert np.allclose(np.ravel(found["std"]), pixels.std(axis=0), atol=0.02)
        actions = np.stack(read(dataset, index).column("action").to_numpy())
        assert np.allclose(entry["stats"]["action"]["std"], actions.astype(float).std(axis=0))
        assert np.allclose(entry["stats"]["action"]["max"], actions.max(axis=0))
        assert entry["stats"]["next.done"] | {"std": None} == {
            "min": [False],
            "max": [True],
            "mean": [1 / 16],
            "std": None,
            "count": [16],
        }


def test_episodes_tasks_and_sources(dataset, run):
    record = RunDirectory.open(run).records()[0]
    assert lines(dataset / "meta/tasks.jsonl") == [{"task_index": 0, "task": record.instruction}]
    assert lines(dataset / "meta/episodes.jsonl") == [
        {"episode_index": index, "tasks": [record.instruction], "length": 16} for index in range(2)
    ]
    source = lines(dataset / "meta/source.jsonl")[0]
    assert (source["run"], source["configuration"], source["episode"]) == ("short", "float32", 0)
    assert source["actions_sha256"] == record.actions_sha256


def test_other_configurations_no_errors_and_the_time_left(copy, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("headless_eval.export.lerobot.LINE_INTERVAL", 0.0)
    error = {"type": "X", "message": "m", "traceback": "t"}
    edit(copy, 1, status="error", success=False, error=error, reason=None)
    out = tmp_path / "new" / "dataset"
    names = ["float32", "boolean_weights_only"]
    assert main(["export", str(copy), "--lerobot", str(out), "--configuration", *names]) == 0
    said = capsys.readouterr()
    assert said.out == f"{out}\n"
    assert said.err.splitlines()[-1] == "3 of 3 episodes simulated again, 0:00 left"
    assert len(said.err.splitlines()) == 48
    sources = lines(out / "meta/source.jsonl")
    trials = [("float32", 0), ("boolean_weights_only", 0), ("boolean_weights_only", 1)]
    assert [(source["configuration"], source["episode"]) for source in sources] == trials


def test_an_episode_that_comes_out_otherwise_is_named_and_nothing_is_left(copy, tmp_path, capsys):
    edit(copy, 1, status="success", success=True, reason=None)
    (tmp_path / "out").mkdir()
    assert main(["export", str(copy), "--lerobot", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "float32, task 2, episode 1: success after 16 steps then, no success after 16 steps now" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "out"]
    assert not list((tmp_path / "out").iterdir())


def test_actions_that_are_not_whole_are_named(copy, tmp_path, capsys):
    actions = copy / "actions" / "float32.f32"
    actions.write_bytes(actions.read_bytes()[:-4])
    assert main(["export", str(copy), "--lerobot", str(tmp_path / "out")]) == 2
    assert "float32, task 2, episode 1: its actions are not in" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["{run}", "--lerobot", "{run}"], "no empty folder"),
        (["{run}", "--lerobot", "{run}/manifest.json"], "no empty folder"),
        (["/no/such", "--lerobot", "{out}"], "holds no run"),
        (["{run}", "{run}", "--lerobot", "{out}"], "one run"),
        (["{run}", "--lerobot", "{out}", "--format", "csv"], "leave --output and --format out"),
        (["{run}", "--lerobot", "{out}", "--configuration", "int8"], "int8"),
        (["{run}", "--configuration", "float32"], "--lerobot or --rerun only"),
    ],
)
def test_mistakes_are_one_line(arguments, word, run, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["export", *(argument.format(run=run, out=out) for argument in arguments)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert word in said
    assert not out.exists()


def test_without_pyarrow_the_extra_is_named(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert main(["export", str(run), "--lerobot", str(tmp_path / "out")]) == 2
    assert "headless-eval[parquet]" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


class Scripted:
    """A simulator whose task is done after so many steps."""

    def __init__(self, steps, fault=None):
        self.steps, self.fault = steps, fault

    def reset(self, slot, task, seed):
        self.taken = 0

    def observe(self, slots):
        return [{"step": self.taken}]

    def step(self, actions):
        self.taken += 1
        return {0: StepResult(self.taken == self.steps, self.fault)}


def test_a_replay_ends_as_the_record_or_not_at_all(run):
    record = replace(
        RunDirectory.open(run).records()[0], status="success", success=True, steps=3, reason=None
    )
    task = Task(2, "scene_2", "name", "instruction", 16)
    actions = np.zeros((3, 8), np.float32)
    frames = list(replay(Scripted(3), task, record, actions))
    assert [frame.observation["step"] for frame in frames] == [0, 1, 2]
    assert [(frame.success, frame.done) for frame in frames] == [(False, False), (False, False), (True, True)]
    with pytest.raises(UserError, match="success after 2 steps now"):
        list(replay(Scripted(2), task, record, actions))
    with pytest.raises(UserError, match="no success after 3 steps now"):
        list(replay(Scripted(4), task, record, actions))
    with pytest.raises(UserError, match="an error in step 1 now"):
        list(replay(Scripted(3, FloatingPointError("diverged")), task, record, actions))
