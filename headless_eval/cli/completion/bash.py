"""The completion script of bash."""

from collections.abc import Mapping
from shlex import quote

from headless_eval.cli.commands import PROGRAM
from headless_eval.cli.completion.words import Completion, Word

_SCRIPT = """\
# Completion of {program} for bash, by: {program} completion bash
_headless_eval() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} command=${{COMP_WORDS[1]}}
    local index flag= takes=nothing values= paths= flags= used=0
    [ "$current" = = ] && current=
    COMPREPLY=()
    if [ "$COMP_CWORD" = 1 ]; then
        mapfile -t COMPREPLY < <(compgen -W {commands} -- "$current")
        return
    fi
    # The last flag before the cursor, and how many values it has already.
    for ((index = COMP_CWORD - 1; index > 1; index--)); do
        case ${{COMP_WORDS[index]}} in
        --*) flag=${{COMP_WORDS[index]}} && break ;;
        =) ;;
        *) used=$((used + 1)) ;;
        esac
    done
    case $command in
{flags}
    esac
    case "$command $flag" in
{values}
    esac
    if [[ $current == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$flags" -- "$current")
        return
    fi
    if [ -z "$flag" ] || [ "$takes" = nothing ] || {{ [ "$takes" = one ] && [ "$used" -gt 0 ]; }}; then
        values= paths=
        case $command in
{arguments}
        esac
    fi
    mapfile -t COMPREPLY < <(compgen -W "$values" -- "$current")
    case $paths in
    files) compopt -o filenames && mapfile -t -O "${{#COMPREPLY[@]}}" COMPREPLY < <(compgen -f -- "$current") ;;
    folders) compopt -o filenames && mapfile -t -O "${{#COMPREPLY[@]}}" COMPREPLY < <(compgen -d -- "$current") ;;
    esac
}}
complete -F _headless_eval {program}
"""


def bash_script(commands: Mapping[str, Completion]) -> str:
    """Return the script."""
    flags, values, arguments = [], [], []
    for name, command in commands.items():
        names = " ".join(one for word in command.flags for one in word.names)
        flags.append(f"    {name}) flags={quote(names)} ;;")
        for word in command.flags:
            if word.takes != "nothing":
                pattern = " | ".join(f'"{name} {one}"' for one in word.names)
                values.append(f"    {pattern}) takes={word.takes} {_assigned(word)} ;;")
        if command.arguments:  # what the first may be, others may be as well
            arguments.append(f"        {name}) {_assigned(command.arguments[0])} ;;")
    return _SCRIPT.format(
        program=PROGRAM,
        commands=quote(" ".join(commands)),
        flags="\n".join(flags),
        values="\n".join(values),
        arguments="\n".join(arguments),
    )


def _assigned(word: Word) -> str:
    return f"values={quote(' '.join(word.values))} paths={word.paths}"
