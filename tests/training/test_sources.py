import subprocess
import sys

import pytest
from training_cases import random_observations

from headless_eval.cli.main import main
from headless_eval.local_policy import load_policy
from headless_eval.policies.pi0.config import CONFIGS
from headless_eval.policies.trained_on import read_trained_on
from headless_eval.sims import gl
from headless_eval.training.blocks import Block, write_block
from headless_eval.training.sources import SOURCES


@pytest.mark.parametrize(
    ("policy", "robot", "dims"),
    [("pi0-droid-tiny", "droid", 8), pytest.param("pi0-libero-tiny", "libero", 7, marks=pytest.mark.slow)],
)
def test_where_all_demonstrations_are_there_no_simulator_is_needed(policy, robot, dims, tmp_path):
    source = SOURCES[robot]
    arrays = random_observations(4, dims)
    rows = [{name: values[row] for name, values in arrays.items()} for row in range(4)]
    (tmp_path / "demonstrations").mkdir()
    for scene, _ in enumerate(source.tasks, 1):
        write_block(Block(scene, 0, 1, 0, 10, 96), tmp_path / "demonstrations", rows)
    code = (
        "import sys; sys.modules['mujoco'] = None; from headless_eval.cli.main import main; "
        "sys.exit(main(sys.argv[1:]))"
    )
    flags = ["--policy", policy, "--results", str(tmp_path), "--episodes", "1", "--device", "cpu"]
    flags += ["--steps", "1", "--batch", "2", "--flow-samples", "1"]
    done = subprocess.run([sys.executable, "-c", code, "train", *flags], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with load_policy(tmp_path / "policy") as trained:
        assert trained.config == CONFIGS[policy]
    assert read_trained_on(tmp_path / "policy") == source.trained_on


@pytest.mark.parametrize("policy", ["pi0-droid-tiny", "pi0-libero-tiny"])
def test_where_demonstrations_are_missing_so_must_opengl_not_be(policy, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MUJOCO_GL", "egl")
    monkeypatch.setattr(gl.ctypes.util, "find_library", lambda name: None)
    assert (
        main(["train", "--policy", policy, "--results", str(tmp_path), "--episodes", "1", "--device", "cpu"])
        == 2
    )
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "libEGL is missing" in error
