"""What fixes a run and where it ran."""

import dataclasses
import json
import re
import subprocess
from pathlib import Path

import pytest
from record_cases import CONFIGURATIONS, TASKS, manifest

from headless_eval.contracts.simulator import Difficulty
from headless_eval.results import manifest as manifest_module


def test_says_what_ran_and_where() -> None:
    kept = json.loads(json.dumps(manifest(gl_renderer="llvmpipe", command=["headless-eval", "run"])))
    named = ("id", "key", "name", "instruction", "max_steps")
    assert kept["tasks"][0] == {name: getattr(TASKS[0], name) for name in named}
    assert kept["variants"][1] == vars(CONFIGURATIONS[1].precision)
    assert (kept["suite"], kept["episodes"], kept["seed"], kept["headless"]) == ("droid", 5, 7, True)
    assert kept["policy"]["fingerprint"] == "f" * 64
    assert kept["command"] == ["headless-eval", "run"]
    for name in ("headless_eval", "python", "torch", "mujoco", "numpy"):
        assert re.match(r"\d+\.\d+", kept["versions"][name])
    assert kept["hardware"]["gl_renderer"] == "llvmpipe"
    assert kept["hardware"]["cpu_count"] >= 1
    assert kept["hardware"]["cpu"]


def test_says_what_a_task_is_perturbed_by() -> None:
    task = dataclasses.replace(TASKS[0], id=99, key="one@light=2", perturbation=(("light", 2),), seeded_as=2)
    (kept,) = json.loads(json.dumps(manifest(tasks=[task])))["tasks"]
    assert (kept["perturbation"], kept["seeded_as"]) == ([["light", 2]], 2)


def test_says_how_hard_a_graded_task_is() -> None:
    graded = dataclasses.replace(TASKS[0], difficulty=Difficulty("press", 20.0, "mm", "less", 0.25))
    (kept,) = json.loads(json.dumps(manifest(tasks=[graded])))["tasks"]
    stated = {"family": "press", "value": 20.0, "unit": "mm", "harder": "less", "chance": 0.25}
    assert kept["difficulty"] == stated


def test_the_sources_hash_changes_with_any_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest_module, "_PACKAGE", tmp_path)
    (tmp_path / "sims").mkdir()
    (tmp_path / "a.py").write_text("x = 1")
    (tmp_path / "sims" / "b.py").write_text("y = 2")
    hashes = [manifest_module.source()["sha256"]]
    (tmp_path / "sims" / "b.py").write_text("y = 3")
    hashes.append(manifest_module.source()["sha256"])
    (tmp_path / "sims" / "b.py").rename(tmp_path / "b.py")
    hashes.append(manifest_module.source()["sha256"])
    for kernel in ("kernel.c", "kernel.cu"):
        (tmp_path / kernel).write_text("int x;")
        hashes.append(manifest_module.source()["sha256"])
    (tmp_path / "notes.txt").write_text("not source")
    assert manifest_module.source()["sha256"] == hashes[-1]
    assert len(set(hashes)) == 5


def test_no_commit_is_claimed_for_an_installed_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A package under somebody else's work tree, such as a virtual environment inside a project.
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    package = tmp_path / "venv" / "headless_eval"
    package.mkdir(parents=True)
    monkeypatch.setattr(manifest_module, "_PACKAGE", package)
    assert manifest_module.source()["git_commit"] is None
