"""Damaged run folders with runs/resume.py and results/: a message and exit 2, or a recovery without lost episodes."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest
from droid_suite import short_tasks
from paths import ROOT

from headless_eval.cli.main import main
from headless_eval.results import RunDirectory

FLAGS = ["--policy", "random", "--dtypes", "float32", "--tasks", "1", "--episodes", "3", "--videos", "none"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "whole"
    with pytest.MonkeyPatch.context() as patch:
        short_tasks(patch)
        assert main(["run", *FLAGS, "--results", str(folder), "--quiet"]) == 0
    return folder


@pytest.fixture
def run(whole, short_episodes, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    return folder


def journal(change):
    def damage(folder):
        path = folder / "journal.jsonl"
        path.write_bytes(change(path.read_bytes()))

    return damage


def manifest(change):
    def damage(folder):
        path = folder / "manifest.json"
        path.write_text(change(path.read_text()))

    return damage


def entries(**changed):
    return manifest(lambda text: json.dumps(json.loads(text) | changed))


def settings(**changed):
    def change(text):
        kept = json.loads(text)
        kept["settings"] |= changed
        return json.dumps(kept)

    return manifest(change)


def line(number, change):
    def damage(data):
        lines = data.splitlines(keepends=True)
        lines[number] = change(lines[number])
        return b"".join(lines)

    return journal(damage)


def field(**changed):
    return line(1, lambda text: json.dumps(json.loads(text) | changed).encode() + b"\n")


def without(name):
    def change(text):
        kept = json.loads(text)
        del kept[name]
        return json.dumps(kept).encode() + b"\n"

    return line(1, change)


# What is done to a run; what the one line of `run --resume` says then.
REFUSED = {
    "no manifest": (lambda folder: (folder / "manifest.json").unlink(), "holds no run"),
    "no journal": (lambda folder: (folder / "journal.jsonl").unlink(), "holds no run"),
    "empty manifest": (manifest(lambda text: ""), "not JSON"),
    "cut manifest": (manifest(lambda text: text[: len(text) // 2]), "not JSON"),
    "manifest of bytes": (lambda folder: (folder / "manifest.json").write_bytes(b"\xff\xfe\0"), "not JSON"),
    "manifest is a list": (manifest(lambda text: "[]"), "not a JSON object"),
    "manifest is a folder": (
        lambda folder: ((folder / "manifest.json").unlink(), (folder / "manifest.json").mkdir()),
        "holds no run",
    ),
    "later format": (entries(format=99), "later version"),
    "no tasks": (entries(tasks=None), "'tasks'"),
    "a list of no tasks": (entries(tasks=[]), "'tasks': expected array of length >= 1"),
    "a list of no variants": (entries(variants=[]), "'variants': expected array of length >= 1"),
    "configurations without names": (entries(variants=[{}]), "lacks name"),
    "a suite that leads elsewhere": (entries(suite="../../etc"), "'suite': expected str matching"),
    "no settings": (entries(settings=None), "states no settings"),
    "settings of another type": (settings(episodes="three"), "'episodes'"),
    "tasks that are no list": (settings(tasks=1), "'tasks'"),
    "impossible settings": (
        lambda folder: (settings(episodes=-1)(folder), entries(episodes=-1)(folder)), "'episodes': expected int >= 0"),
    "unknown dtype": (settings(dtypes=["float7"]), "float7"),
    "unknown suite": (settings(suite="droit"), "did you mean droid"),
    "unknown task": (settings(tasks=["9"]), "unknown task"),
    "unknown policy": (settings(policy="randon"), "did you mean random"),
    "garbage in the middle": (line(1, lambda text: b"garbage\n"), "line 2: not JSON"),
    "zeros in the middle": (line(1, lambda text: b"\0" * 64 + b"\n"), "line 2: not JSON"),
    "two lines run together": (line(0, lambda text: text.rstrip(b"\n")), "line 1: not JSON"),
    "a line that is a list": (line(1, lambda text: b"[]\n"), "line 2: not an episode's record"),
    "a record without its hash": (without("actions_sha256"), "line 2: the episode's record: lacks actions_sha256"),
    "a record of another type": (field(steps="many"), "line 2: the episode's record: 'steps': expected int, got str"),
    "a record that contradicts itself": (field(status="success"), "contradicts the status"),
    "an unknown status": (field(status="won"), "status 'won' is not one of"),
    "actions of another type": (field(actions=[1]), "'actions': expected object"),
    "NaN in a record": (line(1, lambda text: text.replace(b'"seed":7', b'"seed":NaN')), "line 2: not JSON"),
    "1e400 in a record": (line(1, lambda text: text.replace(b'"seed":7', b'"seed":1e400')), "line 2: not JSON"),
    "400 digits in a record": (
        line(1, lambda text: text.replace(b'"seed":7', b'"seed":' + b"9" * 400)),
        "line 2: it holds a number of 1329 bits",
    ),
    "half a character in a record": (
        line(1, lambda text: text.replace(b'"scene_1"', b'"\\ud800"')),
        "line 2: not JSON",
    ),
    "a deep line": (line(1, lambda text: b"[" * 100_000 + b"\n"), "line 2: it has more than 64 tables"),
    "NaN in the manifest": (manifest(lambda text: text.replace('"seed": 7', '"seed": NaN', 1)), "not JSON"),
    "400 digits in the manifest": (
        manifest(lambda text: text.replace('"seed": 7', '"seed": ' + "9" * 400, 1)),
        "it holds a number of 1329 bits",
    ),
    "a deep manifest": (manifest(lambda text: "[" * 100_000), "it has more than 64 tables"),
    "episodes as a text": (entries(episodes="3"), "'episodes': expected int, got str"),
    "episodes as a truth value": (entries(episodes=True), "'episodes': expected int, got bool"),
    "fewer episodes than the settings say": (entries(episodes=1), "'episodes' is 1, and 3 in its settings"),
    "another seed than the settings say": (entries(seed=8), "'seed' is 8, and 7 in its settings"),
    "a policy of another type": (entries(policy="mine"), "'policy': expected object"),
    "a time of texts": (entries(time={"total_s": "long"}), "'time[...]': expected float, got str"),
    "journal is a folder": (
        lambda folder: ((folder / "journal.jsonl").unlink(), (folder / "journal.jsonl").mkdir()),
        "holds no run",
    ),
}  # fmt: skip


@pytest.mark.parametrize("damage", REFUSED)
def test_what_cannot_be_mended_is_refused_in_one_line_and_left_alone(damage, run, capsys):
    change, word = REFUSED[damage]
    change(run)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    capsys.readouterr()
    assert main(["run", "--resume", str(run)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith("headless-eval: error: ")
    assert word in said
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def clutter(folder):
    (folder / "videos" / "float32").mkdir(parents=True)
    (folder / "videos" / "float32" / ".scene_1_ep001.mp4.part").write_bytes(b"half")
    (folder / ".manifest.json.123.tmp").write_text("{")


# What is done to a run; how many of its three episodes are to be run again.
MENDED = {
    "torn last line": (journal(lambda data: data[:-20]), 1),
    "last line without its end": (journal(lambda data: data[:-1]), 0),
    "zeros at the end": (journal(lambda data: data + b"\0" * 100), 0),
    "a deep torn line": (journal(lambda data: data + b"[" * 100_000), 0),
    "a number too large in a torn line": (journal(lambda data: data + b'{"seed":' + b"9" * 400), 0),
    "half a character at the end": (journal(lambda data: data + b'{"task_name":"\xc3'), 0),
    "empty journal": (journal(lambda data: b""), 3),
    "nothing but a torn line": (journal(lambda data: data[:50]), 3),
    "a line twice": (journal(lambda data: data + data.splitlines(keepends=True)[0]), 0),
    "a line lost": (journal(lambda data: b"".join(data.splitlines(keepends=True)[1:])), 1),
    "lines in another order": (journal(lambda data: b"".join(data.splitlines(keepends=True)[::-1])), 0),
    "no actions": (lambda folder: shutil.rmtree(folder / "actions"), 0),
    "cut actions": (lambda folder: (folder / "actions" / "float32.f32").write_bytes(b"12345"), 0),
    "nothing derived": (lambda folder: [path.unlink() for path in folder.glob("*result*")], 0),
    "what a killed process leaves": (clutter, 0),
    "a record of an earlier version": (without("actions"), 0),
    "a field of a later version": (field(added=1), 0),
    "settings of a later version": (settings(added=1), 0),
    "a journal with a carriage return": (journal(lambda data: data.replace(b"\n", b"\r\n")), 0),
}  # fmt: skip


@pytest.mark.parametrize("damage", MENDED)
def test_what_can_be_mended_ends_as_the_whole_run(damage, run, whole, capsys):
    change, lost = MENDED[damage]
    change(run)
    was = [record.trial for record in RunDirectory.open(run).records()]
    assert len(was) == 3 - lost
    assert main(["run", "--resume", str(run)]) == 0, capsys.readouterr().err
    assert not [path for path in run.rglob(".*") if path.is_file()]
    same = ("status", "steps", "actions_sha256", "replans")
    got, wanted = (
        {
            record.trial: [getattr(record, name) for name in same]
            for record in RunDirectory.open(folder).records()
        }
        for folder in (run, whole)
    )
    assert got == wanted
    assert (run / "droid_results.csv").is_file()


def test_there_are_thirty_and_more():
    assert len(REFUSED) + len(MENDED) >= 30


@pytest.mark.slow
def test_twenty_kills_change_nothing(tmp_path):
    script = ROOT / "benchmarks" / "kill_and_resume.py"
    command = [sys.executable, str(script), "--policy", "random", "--episodes", "20", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"20 kills, 60 episodes: the same CSV", done.stdout)
