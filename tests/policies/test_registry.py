"""Families register themselves; nothing central lists them."""

import subprocess
import sys

import pytest

from headless_eval.errors import UserError
from headless_eval.local_policy import load_policy
from headless_eval.policies.options import LoadOptions
from headless_eval.policies.registry import (
    FAMILIES,
    check_engine,
    find_config,
    find_family,
    list_configs,
    list_policies,
)


class Puppets:
    """A family of one policy that needs no weights, and of folders with a file."""

    policies = ("puppet",)
    configs = ("marionette",)
    engines = ("strings",)
    executions = ()

    def owns(self, folder, config_file=None):
        return (folder / "strings").is_file()

    def read_config(self, folder, name, file, robot):
        return name or (folder / "strings").read_text()

    def load(self, where, options):
        return Puppet(where, options)


class Puppet:
    stateless = True

    def __init__(self, where, options):
        self.where, self.options = where, options

    def infer(self, obs):
        return {"actions": [[0.0]]}


@pytest.fixture
def puppets(monkeypatch):
    FAMILIES.names()
    monkeypatch.setattr(FAMILIES, "_known", {**FAMILIES._known, "puppets": Puppets()})


def test_a_family_is_found_by_its_policies_folders_and_configurations(puppets, tmp_path):
    assert "puppet" in list_policies()
    assert "marionette" in list_configs()
    check_engine("strings", "simulated")
    with load_policy("puppet", dtype="bfloat16") as policy:
        assert policy.name == policy.policy.where == "puppet"
        assert policy.policy.options == LoadOptions(dtype="bfloat16")
    with pytest.raises(UserError, match="has no configuration"):
        find_family(tmp_path)
    (tmp_path / "strings").write_text("seven")
    assert find_config(tmp_path) == "seven"
    assert find_config(tmp_path, "marionette") == "marionette"
    for arguments in ({"policy": tmp_path}, {"checkpoint": tmp_path, "config": "marionette"}):
        with load_policy(**arguments, flow_steps=3) as policy:
            assert (policy.policy.where, policy.policy.options.flow_steps) == (tmp_path, 3)
    assert find_config(tmp_path, "pi0_droid").name == "pi0_droid"


def test_names_and_families_need_no_torch():
    code = (
        "import sys; from headless_eval.policies.registry import *; list_policies(), list_configs(); "
        "find_config(BUNDLED / DEFAULT); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_unknown_engine_is_named():
    with pytest.raises(UserError, match="did you mean compiled"):
        check_engine("compield", "simulated")
