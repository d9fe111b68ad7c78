"""The soak runs small, goes on after an abort, and counts it."""

import os
import subprocess
import sys

import pytest
from paths import ROOT

POLICY = """
import os, pathlib
import numpy as np

class Aborts:
    robot, stateless = "droid", False
    def infer(self, obs):
        asked = pathlib.Path("asked")
        asked.write_text(str(int(asked.read_text()) + 1 if asked.exists() else 1))
        if asked.read_text() == "70":
            os.abort()
        now = np.concatenate([obs["observation/joint_position"], obs["observation/gripper_position"]])
        return {"actions": np.tile(now, (8, 1))}
"""


@pytest.mark.slow
def test_an_abort_is_counted_and_the_soak_goes_on(tmp_path):
    (tmp_path / "aborts.py").write_text(POLICY)
    script = ROOT / "benchmarks" / "soak.py"
    words = ["--episodes", "3", "--slots", "1", "--policy", "./aborts.py:Aborts"]
    done = subprocess.run(
        [sys.executable, script, *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "no GPU here" in done.stdout
    assert "SIGABRT after 1 episodes; going on" in done.stdout
    assert "aborts 1 SIGABRT, hangs 0, errors 0" in done.stdout
