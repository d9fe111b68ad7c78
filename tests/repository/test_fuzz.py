"""benchmarks/fuzz.py tells a fault from a refusal, and damages what it is given."""

import importlib.util
import json
import os
import random
import signal
import sys
import time

import pytest
from paths import ROOT

from headless_eval.errors import UserError


@pytest.fixture(scope="module")
def fuzz():
    spec = importlib.util.spec_from_file_location("fuzz", ROOT / "benchmarks" / "fuzz.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["fuzz"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["fuzz"]


def fail(error):
    raise error


def refuse(folder):
    os.write(2, b"headless-eval: error: no\n")
    return 2


OUTCOMES = {
    "fine": lambda folder: 0,
    "one line": lambda folder: fail(UserError("it is damaged")),
    "traceback": lambda folder: fail(ValueError("oh")),
    "hang": lambda folder: time.sleep(60),
    "killed by SIGKILL": lambda folder: os.kill(os.getpid(), signal.SIGKILL),
}


@pytest.mark.parametrize(
    ("outcome", "read"),
    [
        *OUTCOMES.items(),
        ("one line", refuse),
        ("traceback", lambda folder: 2),  # a status without its line
        ("traceback", lambda folder: fail(UserError("two\nlines"))),
        ("traceback", lambda folder: fail(UserError("\x1b[2J"))),
    ],
)
def test_outcomes_are_told_apart(outcome, read, fuzz, tmp_path):
    (tmp_path / "whole").mkdir()
    (tmp_path / "whole" / "a.json").write_text('{"a": 1}')
    target = fuzz.Target("toy", tmp_path / "whole", ("*.json",), read, text=True)
    found, said = fuzz.attempt(target, tmp_path / "place", "seed", seconds=1)
    assert found == outcome, said
    assert (tmp_path / "whole" / "a.json").read_text() == '{"a": 1}'


def test_memory_beyond_the_limit_is_a_fault(fuzz, tmp_path, monkeypatch):
    (tmp_path / "whole").mkdir()
    target = fuzz.Target("toy", tmp_path / "whole", (), lambda folder: bytearray(2**20)[0])
    assert fuzz.attempt(target, tmp_path / "place", "seed", seconds=9)[0] == "fine"
    monkeypatch.setattr(fuzz, "MEMORY", -(2**40))
    assert fuzz.attempt(target, tmp_path / "place", "seed", seconds=9)[0].endswith("GB of memory")


def test_damage_is_damage_and_the_same_for_the_same_seed(fuzz):
    whole = json.dumps({"a": [1, 2.5], "b": "text", "c": {"d": True}}).encode()
    for change in (fuzz.damage_bytes, fuzz.damage_text):
        found = [change(whole, random.Random(seed)) for seed in range(50)]
        assert len(set(found)) > 25
        assert found == [change(whole, random.Random(seed)) for seed in range(50)]
