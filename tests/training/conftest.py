"""Fixtures of the tests of training: demonstrations of one episode a scene."""

import pytest
import torch

from headless_eval.training.dataset import Demonstrations
from headless_eval.training.sources import SOURCES


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A folder with demonstrations, which are to be left as they are; trainings may write beside them."""
    folder = tmp_path_factory.mktemp("training")
    SOURCES["droid"].collect(
        folder / "demonstrations", episodes=1, seed=5, horizon=10, image_size=96, workers=1
    )
    return folder


@pytest.fixture(scope="module")
def data(folder):
    return Demonstrations(sorted((folder / "demonstrations").glob("*.safetensors")), torch.device("cpu"))
