"""What settings name, and when it may be used (shared/consent.py)."""

import os

import pytest

from headless_eval.errors import UserError
from headless_eval.shared import consent, places


@pytest.fixture(autouse=True)
def forgotten(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv(consent._VARIABLE, "")
    monkeypatch.setattr(consent, "_told", {})


def test_the_names_in_settings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = {
        "policy": "ws://host:8000",
        "suite": "./suites/mine",
        "dtypes": ["float32", "./mine.py:quantize(bits=4, note='a+b:c')", "torchao:Int8WeightOnlyConfig()"],
        "variant": ["their.module:quantize+flow_steps=5"],
    }
    names = set(consent.named_in(settings))
    assert names >= {
        "ws://host:8000",
        f"{tmp_path}/suites/mine/suites.py",
        f"{tmp_path}/mine.py",
        "torchao",
        "their.module",
    }
    assert "float32" not in names
    plain = {
        "policy": "pi0-droid-tiny",
        "suite": "droid",
        "dtypes": ["int8"],
        "variant": ["int4_both+flow_steps=5"],
    }
    assert list(consent.named_in(plain)) == []


@pytest.mark.parametrize("settings", [None, [], 5, {"policy": 3, "dtypes": {"a": 1}, "variant": [None]}])
def test_damaged_settings_name_nothing(settings):
    assert list(consent.named_in(settings)) == []


def test_code_that_only_a_folder_names_is_not_imported(tmp_path):
    (tmp_path / "theirs.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nTHING = 1\n")
    place = f"{tmp_path}/theirs.py:THING"
    consent.distrust({"policy": place}, tmp_path / "run")
    with pytest.raises(UserError, match=r"theirs\.py.*headless-eval trust .*run"):
        places.load(place, "policy")
    assert not (tmp_path / "ran").exists()
    consent.remember({"policy": place})
    assert places.load(place, "policy") == 1


def test_names_are_kept_for_later_processes_once(tmp_path, monkeypatch):
    for _ in range(2):
        consent.remember({"policy": "mine:Policy"})
    kept = tmp_path / "state" / "headless-eval" / "named"
    assert kept.read_text() == "mine\n"
    monkeypatch.setenv(consent._VARIABLE, "")  # as in another process
    consent.distrust({"policy": "mine:Policy"}, tmp_path)
    consent.check("mine")


def test_children_know_names_that_cannot_be_kept(tmp_path, monkeypatch):
    (tmp_path / "state").write_text("no folder")
    consent.remember({"policy": "mine:Policy"})
    assert os.environ[consent._VARIABLE] == "mine"
    consent.distrust({"policy": "mine:Policy"}, tmp_path)
    consent.check("mine")
