"""The command ``completion``: scripts with which shells complete this program's words, made from its declared flags."""

from headless_eval.cli.completion.bash import bash_script
from headless_eval.cli.completion.fish import fish_script
from headless_eval.cli.completion.words import completions
from headless_eval.cli.completion.zsh import zsh_script
from headless_eval.config.completion import CompletionConfig

_SCRIPTS = {"bash": bash_script, "zsh": zsh_script, "fish": fish_script}


def print_script(settings: CompletionConfig) -> int:
    """Print the script of a shell; return the exit status, 0."""
    print(_SCRIPTS[settings.shell](completions()), end="")
    return 0
