"""The table of commands, and the help that shows it."""

from dataclasses import is_dataclass

import pytest

from headless_eval.cli.commands import COMMANDS, GROUPS, load, overview


def test_the_help_has_a_line_for_each_command_and_fits_a_terminal():
    lines = overview().splitlines()
    for name, command in COMMANDS.items():
        (line,) = (line for line in lines if line.startswith(f"  {name} "))
        assert line.endswith(f"  {command.summary}")
    assert all(f"{group}:" in lines for group in GROUPS)
    assert max(map(len, lines)) <= 110


@pytest.mark.parametrize("name", COMMANDS)
def test_settings_and_function_exist(name):
    assert is_dataclass(load(COMMANDS[name].settings))
    assert callable(load(COMMANDS[name].function))
