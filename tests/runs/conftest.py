"""Fixtures of tests that run policies of the user's own."""

import sys

import pytest

CODE = """
import numpy as np

class Fitting:
    robot = "droid"
    stateless = True
    requires = {"action_horizon": 4}
    def infer(self, obs):
        return {"actions": np.zeros((4, 8))}

class Fast(Fitting):
    requires = {"control_hz": 50, "cameras": ["observation/top"]}
"""


@pytest.fixture
def fit_file(tmp_path, monkeypatch):
    """A file ``fit.py`` in the current folder: ``Fitting`` fits the suite droid, ``Fast`` does not."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "fit.py").write_text(CODE)
