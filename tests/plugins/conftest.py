"""The package of this folder, installed as users install theirs, into a folder of its own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT

SOURCE = Path(__file__).parent


@pytest.fixture(scope="session")
def installed(tmp_path_factory) -> dict[str, str]:
    """The environment variables of a process that finds the installed package; nothing is fetched."""
    folder = tmp_path_factory.mktemp("plugins")
    copy, target = folder / "source", folder / "site"  # building leaves files beside the source
    copy.mkdir()
    shutil.copy(SOURCE / "pyproject.toml", copy)
    shutil.copytree(SOURCE / "headless_eval_example", copy / "headless_eval_example")
    install = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-index",
        "--no-deps",
        "--no-build-isolation",
        "--target",
    ]
    subprocess.run([sys.executable, *install, str(target), str(copy)], check=True)
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(target)])}


@pytest.fixture
def call(installed, tmp_path):
    """Return a function that runs headless-eval in a fresh process in an empty folder: (exit status, output)."""

    def run(*words: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "headless_eval", *map(str, words)]
        done = subprocess.run(
            command, cwd=tmp_path, env=installed, text=True, capture_output=True, check=False
        )
        return done.returncode, done.stdout + done.stderr

    return run
