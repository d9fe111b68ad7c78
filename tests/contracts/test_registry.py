"""Registries: objects by name, of this package and by entry points of others."""

from importlib.metadata import EntryPoint

import pytest

from headless_eval.contracts import registry as registry_module
from headless_eval.contracts.registry import Registry
from headless_eval.errors import UserError

ROOM = "headless_eval.contracts.robots"


def robots(monkeypatch, **points):
    """Return a registry beside ROBOTS, with entry points of another package."""
    found = [EntryPoint(name, value, "headless_eval.robots") for name, value in points.items()]
    monkeypatch.setattr(registry_module, "entry_points", lambda group: found)
    return Registry("robot", ROOM)


def test_names_are_found_and_the_nearest_is_suggested(monkeypatch):
    known = robots(monkeypatch)
    known.add("mine", "a robot")
    assert "mine" in known
    assert known["mine"] == known.find("mine") == "a robot"
    with pytest.raises(UserError, match="unknown robot 'mien': did you mean mine"):
        known.find("mien")


def test_two_objects_cannot_share_a_name(monkeypatch):
    known = robots(monkeypatch)
    known.add("mine", "a robot")
    with pytest.raises(ValueError, match="mine"):
        known.add("mine", "another")


def test_entry_points_are_loaded_when_they_are_asked_for(monkeypatch):
    known = robots(monkeypatch, theirs=f"{ROOM}.droid:DROID", broken="no_such_module:thing")
    assert list(known.names()) == ["theirs", "broken"]
    assert known.find("theirs").name == "droid"
    with pytest.raises(UserError, match="cannot be loaded"):
        known.find("broken")
