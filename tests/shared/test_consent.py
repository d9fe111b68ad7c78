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
    monkeypatch.setattr(consent, "_used", {})


def test_the_texts_that_can_name_something():
    settings = {
        "policy": "ws://host:8000",
        "suite": "./suites/mine",
        "dtypes": ["float32", "./mine.py:quantize(bits=4)"],
        "variant": ["label=their.module:quantize+flow_steps=5"],
    }
    assert list(consent.texts_in(settings)) == [
        "ws://host:8000",
        "./suites/mine",
        "./mine.py:quantize(bits=4)",
        "label=their.module:quantize+flow_steps=5",
    ]
    assert list(consent.texts_in({"policy": "/a/pi0.5", "suite": "droid", "dtypes": ["int8"]})) == []


@pytest.mark.parametrize(
    "text",
    [
        "timeit:timeit",
        "label=timeit:timeit(setup='1')",
        "float32+timeit:timeit",
        " timeit:timeit",
        "timeit:default_timer",
    ],
)
def test_however_a_module_is_named_it_is_refused(tmp_path, text):
    consent.remember(["timeit:repeat"])  # another function of the same module
    consent.distrust(consent.texts_in({"variant": [text]}), tmp_path)
    with pytest.raises(UserError, match="headless-eval trust"):
        places.load("timeit:timeit", "method")


@pytest.mark.parametrize("suite", ["./run(1)/suites.py:SUITE", "./a+b/", ".", "./x:y", "link.py:SUITE"])
def test_however_a_file_is_named_it_is_refused(tmp_path, suite):
    (tmp_path / "suites.py").write_text("SUITE = 1\n")
    consent.distrust(consent.texts_in({"suite": suite}), tmp_path)
    with pytest.raises(UserError, match="headless-eval trust"):
        places.load(f"{tmp_path}/suites.py:SUITE", "suite")


@pytest.mark.parametrize("settings", [None, [], 5, {"policy": 3, "dtypes": {"a": 1}, "variant": [None]}])
def test_damaged_settings_name_nothing(settings):
    assert list(consent.texts_in(settings)) == []


def test_code_that_only_a_folder_names_is_not_imported(tmp_path):
    (tmp_path / "theirs.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nTHING = 1\n")
    place = f"{tmp_path}/theirs.py:THING"
    consent.distrust(consent.texts_in({"policy": place}), tmp_path / "run")
    with pytest.raises(UserError, match=r"theirs\.py.*headless-eval trust .*run"):
        places.load(place, "policy")
    assert not (tmp_path / "ran").exists()
    consent.remember([place])
    assert places.load(place, "policy") == 1


def test_names_are_kept_for_later_processes_once(tmp_path, monkeypatch):
    for _ in range(2):
        consent.remember(["mine:Policy"])
    kept = tmp_path / "state" / "headless-eval" / "named"
    assert kept.read_text() == '"mine:Policy"\n'
    monkeypatch.setenv(consent._VARIABLE, "")  # as in another process
    consent.distrust(consent.texts_in({"policy": "mine:Policy"}), tmp_path)
    consent.check_code(None, "mine", "Policy")
    consent.distrust(consent.texts_in({"policy": "mine:os.system"}), tmp_path)
    consent.check_code(None, "mine", "Policy")
    with pytest.raises(UserError):
        consent.check_code(None, "mine", "os.system")


def test_children_know_names_that_cannot_be_kept(tmp_path):
    (tmp_path / "state").write_text("no folder")
    consent.remember(["mine:Policy"])
    assert os.environ[consent._VARIABLE] == '"mine:Policy"'
    consent.distrust(consent.texts_in({"policy": "mine:Policy"}), tmp_path)
    consent.check_code(None, "mine", "Policy")


def test_an_address_is_refused(tmp_path):
    consent.distrust(consent.texts_in({"policy": "ws://theirs:1"}), tmp_path)
    with pytest.raises(UserError, match="ws://theirs:1"):
        consent.check_address("ws://theirs:1")
    consent.remember(["ws://theirs:1"])
    consent.check_address("ws://theirs:1")
