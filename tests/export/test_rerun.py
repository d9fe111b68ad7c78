"""An episode becomes a recording for Rerun, which Rerun's own reader reads."""

import shutil
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
from droid_suite import SHORT_STEPS

from headless_eval.cli.main import main
from headless_eval.results import RunDirectory

pytest.importorskip("rerun", reason="the extra rerun is not installed")


def read(file):
    """Return a recording's values by entity and component: (step, value) in order."""
    from rerun.chunk import RrdReader

    found = defaultdict(list)
    for chunk in RrdReader(str(file)).stream().to_chunks():
        columns = chunk.to_record_batch().to_pydict()
        steps = columns.pop("step", None)
        for name, values in columns.items():
            for index, value in enumerate(values):
                found[str(chunk.entity_path), name].append((None if steps is None else steps[index], value))
    return {key: sorted(rows, key=lambda row: row[0] or 0) for key, rows in found.items()}


@pytest.mark.usefixtures("short_episodes")
def test_an_episode_has_cameras_state_video_actions_and_its_twins_actions(run, tmp_path, capsys):
    file = tmp_path / "new" / "episode.rrd"
    assert main(["export", str(run), "--rerun", str(file), "--episode", "scene_2:1"]) == 0
    assert capsys.readouterr() == (f"{file}\n", "")
    recording, directory = read(file), RunDirectory.open(run)
    for name, line in (("boolean_weights_only", "boolean_weights_only"), ("float32", "float32 (twin)")):
        record = next(one for one in directory.records() if (one.configuration, one.episode) == (name, 1))
        actions = directory.actions(record)
        path = f"/action/arm/joint_3/{line}".replace(" ", "\\ ").replace("(", "\\(").replace(")", "\\)")
        rows = recording[path, "Scalars:scalars"]
        assert [step for step, _ in rows] == list(range(len(actions)))
        np.testing.assert_array_equal([value[0] for _, value in rows], actions[:, 2].astype(np.float64))
    for camera in ("exterior_image_1_left", "wrist_image_left"):
        pictures = recording[f"/cameras/{camera}", "EncodedImage:blob"]
        assert [step for step, _ in pictures] == list(range(SHORT_STEPS))
        assert bytes(np.array(pictures[0][1][0], np.uint8)[:2]) == b"\xff\xd8"  # JPEG
    state = recording["/state/joint_position/joint_1", "Scalars:scalars"]
    assert len(state) == SHORT_STEPS
    assert len(recording["/video", "VideoFrameReference:timestamp"]) > 2
    text = recording["/episode", "TextDocument:text"][0][1][0]
    assert "variant: boolean_weights_only" in text
    assert "episode: 1" in text


@pytest.mark.usefixtures("short_episodes")
def test_what_cannot_be_simulated_again_has_video_and_actions(run, tmp_path, capsys):
    copy = shutil.copytree(run, tmp_path / "copy")
    records = RunDirectory.open(copy).records()
    changed = [replace(record, status="success", success=True, reason=None) for record in records]
    (copy / "journal.jsonl").write_text("".join(record.to_json() + "\n" for record in changed))
    file = tmp_path / "episode.rrd"
    assert main(["export", str(copy), "--rerun", str(file), "--configuration", "float32"]) == 0
    assert f"end after {SHORT_STEPS - 1} of {SHORT_STEPS} steps" in capsys.readouterr().err
    recording = read(file)
    assert recording["/action/arm/joint_1/float32", "Scalars:scalars"]
    assert recording["/video", "AssetVideo:blob"]
    assert not any("twin" in path for path, _ in recording)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--episode", "scene_2:7"], "unknown episode of boolean_weights_only 'scene_2:7'"),
        (["--configuration", "int8_both"], "int8_both"),
    ],
)
def test_what_is_not_there_is_told(run, tmp_path, flags, message, capsys):
    file = tmp_path / "episode.rrd"
    assert main(["export", str(run), "--rerun", str(file), *flags]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
