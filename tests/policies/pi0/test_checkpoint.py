"""Checkpoints of π0 in whatever format: a new format is one class that registers itself."""

import pytest
import torch

from headless_eval.checkpoints.stored import Stored
from headless_eval.policies.pi0.checkpoint import describe_format, find_format, load_model, their_name
from headless_eval.policies.pi0.formats import FORMATS
from headless_eval.policies.pi0.formats.named_safetensors import open_safetensors


class Shouting:
    """Folders with a file ``SHOUTING``, in whose messages parameters have capital names."""

    general = False

    def owns(self, folder):
        return (folder / "SHOUTING").is_file()

    def describe(self, folder):
        return "shouting"

    def files(self, folder):
        return sorted(folder.glob("*.safetensors"))

    def open(self, folder):
        return {
            name: Stored(name.upper(), of.shape, of.source) for name, of in open_safetensors(folder).items()
        }

    def their_name(self, name):
        return name.upper()

    def statistics(self, folder):
        return None

    def config(self, folder, robot):
        return None


@pytest.fixture
def folder(policy, tmp_path):
    policy.save(tmp_path / "policy")
    return tmp_path / "policy"


def test_plain_safetensors_are_the_general_format(folder):
    assert find_format(folder) is FORMATS.find("openpi_torch")
    assert describe_format(folder)[0] == "headless-eval"


def test_a_registered_format_is_found_by_its_marks(policy, folder, monkeypatch):
    FORMATS.names()
    monkeypatch.setitem(FORMATS._known, "shouting", Shouting())
    assert describe_format(folder)[0] == "headless-eval"
    (folder / "SHOUTING").touch()
    assert describe_format(folder) == ("shouting", [folder / "model.safetensors"])
    assert their_name(folder)("state_proj.weight") == "STATE_PROJ.WEIGHT"
    model = load_model(policy.config.model, folder, torch.device("cpu"), torch.float32)
    for name, value in policy.model.state_dict().items():
        assert torch.equal(value, model.state_dict()[name])
