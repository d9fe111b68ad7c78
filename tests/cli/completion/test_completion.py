"""Completion at the tab key, by the shells themselves where they are installed."""

import shutil
import subprocess

import pytest

from headless_eval.cli.commands import COMMANDS
from headless_eval.cli.completion.bash import bash_script
from headless_eval.cli.completion.fish import fish_script
from headless_eval.cli.completion.words import completions
from headless_eval.cli.completion.zsh import zsh_script
from headless_eval.cli.main import main
from headless_eval.sims.registry import SUITES

# What is typed, and some of the words that are offered.
TYPED = {
    "headless-eval ru": {"run"},
    "headless-eval run --vid": {"--videos", "--video-fps"},
    "headless-eval run --videos ": {"all", "failures", "none"},
    "headless-eval run --suite libero_o": {"libero_object"},
    "headless-eval run --dtypes float32 bo": {"boolean"},
    "headless-eval run --libero": {"--libero-assets"},
    "headless-eval run --policy pi0-d": {"pi0-droid-tiny"},
    "headless-eval report some": {"some_folder"},
    "headless-eval completion z": {"zsh"},
    "headless-eval run --quiet --modes weights_only b": {"both"},
}


@pytest.fixture(scope="module")
def known():
    return completions()


def bash(script, typed):
    """Return what bash offers for a line."""
    code = (
        f"{script}\ncompopt() {{ :; }}\nCOMP_WORDS=({typed})\n"
        + ('COMP_WORDS+=("")\n' if typed.endswith(" ") else "")
        + "COMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n_headless_eval\nprintf '%s\\n' \"${COMPREPLY[@]}\"\n"
    )
    return subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True).stdout


def fish(script, typed):
    """Return what fish offers for a line; explanations follow after a tab."""
    command = ["fish", "--no-config", "-c", f"{script}\ncomplete -C '{typed}' | cut -f1"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.replace("/\n", "\n")


@pytest.mark.parametrize("shell", [bash, fish])
def test_the_shell_offers_what_can_follow(shell, known, tmp_path, monkeypatch):
    if shutil.which(shell.__name__) is None:
        pytest.skip(f"{shell.__name__} is not installed")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "some_folder").mkdir()
    script = {"bash": bash_script, "fish": fish_script}[shell.__name__](known)
    for typed, wanted in TYPED.items():
        offered = set(shell(script, typed).split())
        assert offered == wanted, typed


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_reads_its_script(known):
    subprocess.run(["zsh", "-n"], input=zsh_script(known), text=True, check=True)


@pytest.mark.parametrize("script", [bash_script, fish_script, zsh_script])
def test_every_command_and_flag_is_in_the_script(script, known):
    text = script(known)
    assert set(known) == set(COMMANDS)
    for name, command in known.items():
        assert name in text
        for word in command.flags:
            assert all(one.removeprefix("--") in text for one in word.names)


def test_a_command_has_the_flags_of_every_suite(known):
    flags = {name for word in known["run"].flags for name in word.names}
    assert {"--sim", "--libero-assets", "--simpler-assets", "--scenes", "--help"} <= flags
    (suites,) = (word.values for word in known["run"].flags if "--suite" in word.names)
    assert set(suites) == {name for name, _ in SUITES.items()}


def test_the_command_prints_the_script(known, capsys):
    assert main(["completion", "bash"]) == 0
    assert capsys.readouterr().out == bash_script(known)
