"""Policies of LeRobot with random weights, written once."""

import pytest
from lerobot_policies import write_policy, write_vlm


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """Return the folder of a policy of each type, by the type's name."""
    return {kind: write_policy(tmp_path_factory.mktemp(kind), kind) for kind in ("act", "diffusion")}


@pytest.fixture(scope="session")
def smolvla(tmp_path_factory):
    """Return the folder of a SmolVLA whose vision-language model's configuration lies in a folder, too."""
    vlm = write_vlm(tmp_path_factory.mktemp("vlm"))
    return write_policy(tmp_path_factory.mktemp("smolvla"), "smolvla", vlm_model_name=str(vlm))
