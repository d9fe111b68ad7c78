"""Policies of LeRobot with random weights, written once."""

import pytest
from lerobot_policies import write_policy


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """Return the folder of a policy of each type, by the type's name."""
    return {kind: write_policy(tmp_path_factory.mktemp(kind), kind) for kind in ("act", "diffusion")}
