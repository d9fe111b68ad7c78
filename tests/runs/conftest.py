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
        now = np.concatenate([obs["observation/joint_position"], obs["observation/gripper_position"]])
        return {"actions": np.tile(now, (4, 1))}

class Relative(Fitting):
    def infer(self, obs):
        return {"actions": np.zeros((4, 8))}

class Turned:
    robot = "droid"
    def __init__(self):
        from headless_eval import load_policy
        self.inner = load_policy("pi0-droid-tiny").policy
        self.noise_shape, self.image_size, self.open_loop_horizon = self.inner.noise_shape, self.inner.image_size, 8
    def infer(self, obs, noise):
        turned = {key: obs[key][::-1, ::-1].copy() for key in obs if "image" in key}
        return self.inner.infer({**obs, **turned}, noise)

class Fast(Fitting):
    requires = {"control_hz": 50, "cameras": ["observation/top"]}
"""


@pytest.fixture
def fit_file(tmp_path, monkeypatch):
    """A file ``fit.py`` in the current folder: ``Fitting`` fits the suite droid, ``Fast`` does not.

    ``Relative`` gives changes where the suite takes positions, ``Turned`` shows the bundled policy turned pictures.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "fit.py").write_text(CODE)
