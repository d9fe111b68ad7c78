"""The completion script of fish."""

from collections.abc import Iterator, Mapping

from headless_eval.cli.commands import PROGRAM
from headless_eval.cli.completion.words import Completion, Word

_SCRIPT = """\
# Completion of {program} for fish, by: {program} completion fish

# Whether the last flag before the cursor is one of the given ones.
function __headless_eval_after
    set -l words (commandline -opc)
    for word in $words[-1..1]
        if string match -q -- '--*' $word
            contains -- $word $argv
            return
        end
    end
    return 1
end

complete -c {program} -f
{lines}
"""
_PATHS = {"files": "(__fish_complete_path (commandline -ct))", "folders": "(__fish_complete_directories)"}


def fish_script(commands: Mapping[str, Completion]) -> str:
    """Return the script."""
    lines = [
        f"complete -c {PROGRAM} -n __fish_use_subcommand -a {name} -d {_quoted(command.summary)}"
        for name, command in commands.items()
    ]
    for name, command in commands.items():
        lines += [f"complete -c {PROGRAM} {rule}" for rule in _rules(name, command)]
    return _SCRIPT.format(program=PROGRAM, lines="\n".join(lines))


def _rules(name: str, command: Completion) -> Iterator[str]:
    here = f"__fish_seen_subcommand_from {name}"
    for word in command.flags:
        names = " ".join(f"-l {one.removeprefix('--')}" for one in word.names)
        values = _values(word)
        value = f" -x -a {values}" if values else " -x"
        yield f"-n {_quoted(here)} {names}{'' if word.takes == 'nothing' else value} -d {_quoted(word.help)}"
        if word.takes == "many" and values:  # fish itself completes only the first value
            after = f"{here}; and __headless_eval_after {' '.join(word.names)}"
            yield f"-n {_quoted(after)} -a {values}"
    for word in command.arguments[:1]:
        if values := _values(word):
            yield f"-n {_quoted(f'{here}; and not __headless_eval_after {_many(command)}')} -a {values}"


def _many(command: Completion) -> str:
    """Return the flags after which further words are their values."""
    return " ".join(one for word in command.flags if word.takes == "many" for one in word.names)


def _values(word: Word) -> str:
    found = [*word.values, *filter(None, [_PATHS.get(word.paths)])]
    return _quoted(" ".join(found)) if found else ""


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
