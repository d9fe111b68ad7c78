"""Commands to show to users: this program as their shell calls it, and how to install a missing package."""

import shlex
import shutil
import sys
from pathlib import Path

_NAME = "headless-eval"


def program() -> str:
    """Return this program's name if the shell finds it, else its path, so that a shown command can be pasted."""
    here = Path(sys.executable).with_name(_NAME)
    found = shutil.which(_NAME)
    if not here.is_file() or (found is not None and here.samefile(found)):
        return _NAME
    return str(here.relative_to(Path.cwd()) if here.is_relative_to(Path.cwd()) else here)


def command(*arguments: object) -> str:
    """Return this program's command with arguments, quoted for a shell."""
    return shlex.join([program(), *map(str, arguments)])


def install(package: str) -> str:
    """Return the command that installs a package, or an extra of ours, into the running environment."""
    return shlex.join([sys.executable, "-m", "pip", "install", package])
