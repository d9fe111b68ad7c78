"""The completion script of zsh."""

import re
from collections.abc import Iterator, Mapping

from headless_eval.cli.commands import PROGRAM
from headless_eval.cli.completion.words import Completion, Word

_SCRIPT = """\
#compdef {program}
# Completion of {program} for zsh, by: {program} completion zsh
_headless_eval() {{
    local -a commands
    commands=(
{commands}
    )
    if (( CURRENT == 2 )); then
        _describe command commands
        return
    fi
    local command=$words[2]
    shift words
    (( CURRENT-- ))
    case $command in
{cases}
    esac
}}
if [ "$funcstack[1]" = _headless_eval ] || [ "$funcstack[1]" = _{program} ]; then
    _headless_eval "$@"
else
    compdef _headless_eval {program}
fi
"""
_PATHS = {"files": "_files", "folders": "_files -/"}


def zsh_script(commands: Mapping[str, Completion]) -> str:
    """Return the script."""
    return _SCRIPT.format(
        program=PROGRAM,
        commands="\n".join(
            f"        {_quoted(f'{name}:{command.summary}')}" for name, command in commands.items()
        ),
        cases="\n".join(_case(name, command) for name, command in commands.items()),
    )


def _case(name: str, command: Completion) -> str:
    specs = [*(spec for word in command.flags for spec in _flag(word))]
    if command.arguments:
        specs.append(f"*:{_action(command.arguments[0])}")
    lines = " \\\n".join(f"            {_quoted(spec)}" for spec in specs)
    return f"    {name}) _arguments \\\n{lines} ;;"


def _flag(word: Word) -> Iterator[str]:
    note = re.sub(r"([\[\]:\\])", r"\\\1", word.help)
    for name in word.names:
        match word.takes:
            case "nothing":
                yield f"{name}[{note}]"
            case "one":
                yield f"{name}=[{note}]:{_action(word)}"
            case "many":  # all words up to the next flag
                yield f"{name}[{note}]:*-*:{_action(word)}"


def _action(word: Word) -> str:
    """Return a message and what completes: known values, paths or both."""
    choices = f"({' '.join(word.values)})" if word.values else ""
    paths = _PATHS.get(word.paths, "")
    if choices and paths:
        return f"value:{{compadd -- {' '.join(word.values)}; {paths}}}"
    return f"value:{choices or paths or ' '}"


def _quoted(text: str) -> str:
    escaped = text.replace("'", "'\\''")
    return f"'{escaped}'"
