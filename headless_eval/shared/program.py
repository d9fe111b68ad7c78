"""What this program is called by in the user's shell, and how what it lacks is installed."""

import shlex
import shutil
import sys
from pathlib import Path

_NAME = "headless-eval"


def program() -> str:
    """Return the command's name if the shell finds this environment's, else its path: a hint has to work as it is."""
    here = Path(sys.executable).with_name(_NAME)
    found = shutil.which(_NAME)
    if not here.is_file() or (found is not None and here.samefile(found)):
        return _NAME
    return str(here.relative_to(Path.cwd()) if here.is_relative_to(Path.cwd()) else here)


def command(*arguments: object) -> str:
    """Return the command with arguments, as a shell takes it."""
    return shlex.join([program(), *map(str, arguments)])


def install(package: str) -> str:
    """Return the command that installs a package, or an extra of this one, into the environment that runs."""
    return shlex.join([sys.executable, "-m", "pip", "install", package])
