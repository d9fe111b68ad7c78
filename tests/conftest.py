"""Fixtures for tests that run the real suite with a real policy."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from droid_suite import BUNDLED_POLICY, SHORT_RUN, short_tasks

from headless_eval.policies.registry import list_policies
from headless_eval.sims import gl

gl.choose_backend()  # tests import modules that import mujoco


@pytest.fixture(scope="session", autouse=True)
def state_home(tmp_path_factory):
    """A folder of the tests' own for what the program remembers of its user."""
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))


@pytest.fixture
def short_episodes(monkeypatch):
    """The real suite with episodes of about a second, so that a run takes seconds."""
    short_tasks(monkeypatch)


@pytest.fixture(scope="session")
def untrained_policy(tmp_path_factory) -> Path:
    """A policy's folder like the bundled one, with random weights."""
    import torch

    from headless_eval.policies.norm_stats import NormStats
    from headless_eval.policies.paligemma.tokenizer import Tokenizer, train_tokenizer
    from headless_eval.policies.pi0.config import CONFIGS
    from headless_eval.policies.pi0.model import Pi0
    from headless_eval.policies.pi0.policy import save_checkpoint
    from headless_eval.sims.droid.scenes import SCENES
    from headless_eval.sims.droid.tabletop import HOME_JOINTS

    folder = tmp_path_factory.mktemp("policies") / "untrained"
    config = CONFIGS["pi0-droid-tiny"]
    torch.manual_seed(0)
    model = Pi0(config.model)
    with torch.no_grad():  # norms and biases too, so that nothing is left out because it is zero
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    home = np.array([*HOME_JOINTS, 0.0])
    stats = {
        "state": NormStats(home, np.full(8, 0.3)),
        "actions": NormStats(np.zeros(8), np.full(8, 0.05)),
    }
    tokenizer = folder.parent / "tokenizer.model"
    train_tokenizer([scene.instruction for scene in SCENES], tokenizer, config.model.vocab_size)
    save_checkpoint(folder, model, config, stats, Tokenizer(tokenizer))
    return folder


@pytest.fixture(scope="session")
def droid_policy(request) -> str:
    """What ``--policy`` takes: the bundled policy, or, where it is not there, one with random weights."""
    if BUNDLED_POLICY in list_policies():
        return BUNDLED_POLICY
    return str(request.getfixturevalue("untrained_policy"))


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Path:
    """A whole run of ``SHORT_RUN``, with episodes of a second; to be copied, not changed."""
    from headless_eval.cli.main import main

    folder = tmp_path_factory.mktemp("runs") / "whole"
    with pytest.MonkeyPatch.context() as patch:
        short_tasks(patch)
        assert main(["run", *SHORT_RUN, "--results", str(folder), "--quiet"]) == 0
    return folder


@pytest.fixture
def moved(finished, tmp_path):
    """The run as a colleague has it: zipped, sent, unpacked elsewhere."""
    archive = shutil.make_archive(str(tmp_path / "sent"), "zip", finished)
    shutil.unpack_archive(archive, tmp_path / "elsewhere")
    return tmp_path / "elsewhere"
