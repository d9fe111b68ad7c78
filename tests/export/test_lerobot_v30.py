"""Layout v3.0: many episodes in a file, found again by what ``meta/`` says; read by LeRobot itself, too."""

import json

import numpy as np
import pytest

from headless_eval.export.lerobot_v30 import WriterV30
from headless_eval.rollout.replay import Frame

pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")

FPS, SIZE, LENGTHS = 15, 32, (3, 5, 4)
CAMERA = "observation.images.exterior_image_1_left"
INSTRUCTIONS = ("put the cube in the bowl", "put the can in the mug", "put the cube in the bowl")


def grey(episode, step):
    """Return the grey of all pixels of a step: no two steps share it."""
    return 20 + 60 * episode + 10 * step


def frames(episode):
    for step in range(LENGTHS[episode]):
        picture = np.full((SIZE, SIZE, 3), grey(episode, step), np.uint8)
        observation = {
            "observation/exterior_image_1_left": picture,
            "observation/joint_position": np.full(7, episode + step / 10, np.float32),
            "observation/gripper_position": np.zeros(1, np.float32),
            "prompt": INSTRUCTIONS[episode],
        }
        last = step == LENGTHS[episode] - 1
        yield Frame(observation, np.full(8, step, np.float32), success=last, done=last)


def write(folder, **limits):
    folder.mkdir()
    with WriterV30(folder, FPS, **limits) as writer:
        for episode, instruction in enumerate(INSTRUCTIONS):
            writer.add(frames(episode), instruction, {"run": "mine"})
        writer.finish()
    return folder


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write(tmp_path_factory.mktemp("v30") / "dataset")


def test_all_episodes_lie_in_one_file(dataset):
    import pandas

    info = json.loads((dataset / "meta/info.json").read_text())
    assert (info["codebase_version"], info["total_episodes"], info["total_frames"]) == ("v3.0", 3, 12)
    files = sorted(str(path.relative_to(dataset)) for path in dataset.rglob("*") if path.is_file())
    assert files == [
        "data/chunk-000/file-000.parquet",
        "meta/episodes/chunk-000/file-000.parquet",
        "meta/info.json",
        "meta/source.jsonl",
        "meta/stats.json",
        "meta/tasks.parquet",
        f"videos/{CAMERA}/chunk-000/file-000.mp4",
    ]
    tasks = pandas.read_parquet(dataset / "meta/tasks.parquet")
    assert dict(tasks["task_index"]) == {INSTRUCTIONS[0]: 0, INSTRUCTIONS[1]: 1}
    data = pandas.read_parquet(dataset / "data/chunk-000/file-000.parquet")
    assert data["index"].tolist() == list(range(12))
    assert data["episode_index"].tolist() == [0] * 3 + [1] * 5 + [2] * 4
    assert data["task_index"].tolist() == [0] * 3 + [1] * 5 + [0] * 4
    episodes = pandas.read_parquet(dataset / "meta/episodes/chunk-000/file-000.parquet")
    assert episodes["dataset_from_index"].tolist() == [0, 3, 8]
    assert episodes["dataset_to_index"].tolist() == [3, 8, 12]
    assert np.allclose(episodes[f"videos/{CAMERA}/from_timestamp"], np.array([0, 3, 8]) / FPS)
    assert [list(tasks) for tasks in episodes["tasks"]] == [[instruction] for instruction in INSTRUCTIONS]


def test_statistics_are_those_of_all_frames(dataset):
    stats = json.loads((dataset / "meta/stats.json").read_text())
    actions = np.concatenate([np.arange(length) for length in LENGTHS])
    greys = np.array(
        [grey(episode, step) for episode, length in enumerate(LENGTHS) for step in range(length)]
    )
    for name, values in (("action", actions), (CAMERA, greys / 255)):
        found = {key: np.ravel(value)[0] for key, value in stats[name].items()}
        assert (found["min"], found["max"]) == (values.min(), values.max())
        assert np.isclose(found["mean"], values.mean())
        assert np.isclose(found["std"], values.std())
        assert found["q01"] <= np.sort(values)[1]
        assert abs(found["q50"] - np.median(values)) <= 10 / 255
        assert found["count"] == 12
    assert np.shape(stats[CAMERA]["q99"]) == (3, 1, 1)


def test_full_files_are_followed_by_others(tmp_path):
    import pandas

    folder = write(tmp_path / "small", data_mb=0, video_mb=0)
    info = json.loads((folder / "meta/info.json").read_text())
    assert (info["data_files_size_in_mb"], info["video_files_size_in_mb"]) == (1, 1)
    episodes = pandas.read_parquet(folder / "meta/episodes/chunk-000/file-000.parquet")
    assert episodes["data/file_index"].tolist() == [0, 1, 2]
    assert episodes[f"videos/{CAMERA}/file_index"].tolist() == [0, 1, 2]
    assert episodes[f"videos/{CAMERA}/from_timestamp"].tolist() == [0, 0, 0]
    for index, length in enumerate(LENGTHS):
        assert len(pandas.read_parquet(folder / f"data/chunk-000/file-{index:03d}.parquet")) == length
        assert (folder / f"videos/{CAMERA}/chunk-000/file-{index:03d}.mp4").stat().st_size > 500


def test_an_encoder_is_ended_where_the_writing_breaks_off(tmp_path):
    def broken():
        yield from frames(0)
        raise RuntimeError("the simulator broke")

    with pytest.raises(RuntimeError, match="broke"), WriterV30(tmp_path, FPS) as writer:
        writer.add(broken(), "anything", {})
    assert writer._videos == {}


@pytest.mark.lerobot
@pytest.mark.parametrize("limits", [{}, {"data_mb": 0, "video_mb": 0}], ids=["one file", "a file an episode"])
def test_lerobot_reads_what_was_written(limits, tmp_path):
    from lerobot.datasets import LeRobotDataset

    folder = write(tmp_path / "dataset", **limits)
    dataset = LeRobotDataset("nobody/dataset", root=folder, video_backend="pyav")
    assert (dataset.num_episodes, dataset.num_frames, dataset.fps) == (3, 12, FPS)
    row = 0
    for episode, length in enumerate(LENGTHS):
        for step in range(length):
            item = dataset[row]
            assert (item["episode_index"].item(), item["frame_index"].item()) == (episode, step)
            assert item["task"] == INSTRUCTIONS[episode]
            assert item["action"].tolist() == [step] * 8
            assert np.allclose(item["observation.state"][:7], episode + step / 10)
            assert item[CAMERA].shape == (3, SIZE, SIZE)
            assert abs(float(item[CAMERA].mean()) * 255 - grey(episode, step)) < 4
            row += 1
    assert np.allclose(dataset.meta.stats["action"]["max"], 4)
    chunks = LeRobotDataset(
        "nobody/dataset", root=folder, video_backend="pyav", delta_timestamps={"action": [0, 1 / FPS]}
    )
    assert chunks[2]["action"][:, 0].tolist() == [2, 2]  # an episode's last action is repeated
    assert chunks[2]["action_is_pad"].tolist() == [False, True]
