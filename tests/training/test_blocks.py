import numpy as np
from safetensors.numpy import load_file

from headless_eval.sims.droid.scenes import SCENES
from headless_eval.training import demonstrations
from headless_eval.training.sources import SOURCES


def test_blocks_hold_observations_with_action_chunks(folder):
    for scene in SCENES:
        block = load_file(folder / "demonstrations" / f"scene_{scene.id}_000000_1.safetensors")
        count = len(block["scene"])
        assert count > 20
        assert (block["scene"] == scene.id).all()
        assert block["exterior"].shape == block["wrist"].shape == (count, 96, 96, 3)
        assert block["actions"].shape == (count, 10, 8)
        assert block["valid"][:, 0].all()
        assert (np.diff(block["valid"].astype(int), axis=1) <= 0).all()  # valid, then never again
        gripper = block["actions"][..., 7]
        assert set(np.unique(gripper)) == {0.0, 1.0}
        # After the worst disturbances the arm takes another way round; mostly a setpoint is near.
        ahead = np.abs(block["actions"][:, 0, :7] - block["state"][:, :7]).max(axis=1)
        assert 0.01 < np.median(ahead) < 0.4


def test_finished_blocks_are_kept(folder, monkeypatch):
    def refuse(*arguments):
        raise AssertionError("a finished block was collected again")

    monkeypatch.setattr(demonstrations, "collect_block", refuse)
    paths = SOURCES["droid"].collect(folder / "demonstrations", 1, 5, 10, 96, workers=1)
    assert all(path.exists() for path in paths)
