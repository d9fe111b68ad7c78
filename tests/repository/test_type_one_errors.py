"""The simulations of the tests' errors: a quick version of those in the documentation."""

import subprocess
import sys

import pytest
from paths import ROOT

SCRIPT = ROOT / "benchmarks" / "type_one_errors.py"


@pytest.mark.parametrize(
    ("part", "runs"),
    [
        ("no difference", 300),
        pytest.param("at the margin", 300, marks=pytest.mark.slow),
        pytest.param("thresholds, episodes a level", 300, marks=pytest.mark.slow),
        pytest.param("sequential", 300, marks=pytest.mark.slow),
    ],
)
def test_no_test_errs_more_often_than_its_level(part, runs):
    words = [sys.executable, str(SCRIPT), "--runs", str(runs), "--only", part]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "too high" not in done.stdout
    assert done.stdout.count("| 0.05 |") + done.stdout.count("| 0.025 |") >= 3
