"""The settings of ``headless-eval completion``."""

from dataclasses import dataclass
from typing import Annotated, Literal

from headless_eval.shared.flags import Settings, flag


@dataclass(frozen=True, kw_only=True)
class CompletionConfig(Settings):
    """Print a script with which a shell completes commands, flags and their values at the tab key.

    The script is made from the flags of this version; print it again after an update, or when a package has been
    installed that brings policies, suites or methods.

    Examples:
      headless-eval completion bash > ~/.local/share/bash-completion/completions/headless-eval
      headless-eval completion zsh > ~/.zfunc/_headless-eval     # a folder of $fpath, before compinit
      headless-eval completion fish > ~/.config/fish/completions/headless-eval.fish
    """

    shell: Annotated[Literal["bash", "zsh", "fish"], flag("SHELL", positional=True)]
    """bash, zsh or fish."""
