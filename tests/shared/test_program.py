"""Commands as they are shown to users: they can be pasted into the user's shell."""

import shlex
import subprocess
import sys

import pytest

from headless_eval.shared import program


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """An environment of its own with the command, and the folder that the shell searches first."""
    environment, first = tmp_path / "venv" / "bin", tmp_path / "bin"
    for folder in (environment, first):
        folder.mkdir(parents=True)
    (environment / "headless-eval").write_text("#!/bin/sh\n")
    (environment / "headless-eval").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(environment / "python"))
    monkeypatch.setenv("PATH", str(first))
    monkeypatch.chdir(tmp_path)
    return environment, first


def test_a_command_that_the_shell_finds_has_its_name(installed):
    environment, first = installed
    (first / "headless-eval").symlink_to(environment / "headless-eval")
    assert program.program() == "headless-eval"


def test_a_command_that_the_shell_does_not_find_has_its_path(installed, tmp_path, monkeypatch):
    environment, first = installed
    assert program.program() == "venv/bin/headless-eval"
    (first / "headless-eval").write_text("#!/bin/sh\n")  # another installation
    (first / "headless-eval").chmod(0o755)
    assert program.program() == "venv/bin/headless-eval"
    monkeypatch.chdir(first)
    assert program.program() == str(environment / "headless-eval")


def test_without_an_installed_command_it_has_its_name(installed):
    environment, _ = installed
    (environment / "headless-eval").unlink()
    assert program.program() == "headless-eval"


def test_arguments_are_quoted_for_a_shell(monkeypatch):
    monkeypatch.setattr(program, "program", lambda: "headless-eval")
    said = program.command("run", "--resume", "a folder/$x", 3)
    assert shlex.split(said) == ["headless-eval", "run", "--resume", "a folder/$x", "3"]
    assert subprocess.run(
        ["sh", "-c", said.replace("headless-eval", "printf '%s\n'")], capture_output=True, text=True
    ).stdout.splitlines() == ["run", "--resume", "a folder/$x", "3"]


def test_a_package_is_installed_into_the_running_environment():
    assert shlex.split(program.install("headless-eval[openpi]")) == [
        *(sys.executable, "-m", "pip", "install", "headless-eval[openpi]")
    ]
