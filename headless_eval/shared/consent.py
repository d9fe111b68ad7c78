"""Code and addresses that a run's folder names: used only if the user has named them before, on this machine.

A folder of results may come from anybody, and its manifest names the policy, the suite and the methods that were used.
Whoever goes on with it or verifies it would run that code. So what a manifest names is noted by ``distrust``, and
``check`` refuses it, unless a run of the user's own began with it, or ``headless-eval trust DIR`` said so: ``remember``
keeps the names in ``$XDG_STATE_HOME/headless-eval/named``, and in the environment of child processes.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from headless_eval.errors import UserError

_VARIABLE = "HEADLESS_EVAL_NAMED"
_told: dict[str, Path] = {}


def named_in(settings: Any) -> Iterator[str]:
    """Yield the code and the addresses that a run's settings name: modules, Python files and URLs.

    Installed packages' policies, suites and methods have names without a colon and are not among them.
    """
    if not isinstance(settings, Mapping):  # a damaged file's
        return
    for key in ("policy", "suite", "dtypes", "variant"):
        values = settings.get(key)
        for text in values if isinstance(values, list | tuple) else [values]:
            if isinstance(text, str):
                yield from _named_by(text, folder=key == "suite")


def distrust(settings: Any, folder: Path) -> None:
    """Note what a run's settings name; a folder is what the message of ``check`` names."""
    for name in named_in(settings):
        _told.setdefault(name, folder)


def check(name: str) -> None:
    """Refuse a module, a file or an address that only a run's folder has named.

    Raises:
        UserError: the user has not named it yet; the message says how to.
    """
    folder = _told.get(name)
    if folder is not None and name not in _remembered():
        raise UserError(
            f"the run {folder} names code or an address that you have not used before: {name}; look at it, and if you "
            f"trust it: headless-eval trust {folder}"
        )


def remember(settings: Any) -> list[str]:
    """Keep what settings name, because the user named it; return all names."""
    names = list(named_in(settings))
    new = [name for name in names if name not in _remembered()]
    if new:
        os.environ[_VARIABLE] = "\n".join([*os.environ.get(_VARIABLE, "").splitlines(), *new])
        with suppress(OSError):  # a home that cannot be written: known to this process and its children
            _file().parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with open(_file(), "a", encoding="utf-8") as file:
                file.writelines(f"{name}\n" for name in new)
    return names


def _named_by(text: str, folder: bool) -> Iterator[str]:
    if "://" in text:
        yield text
        return
    for part in text.split("+"):
        where = part.partition("(")[0].rpartition(":")[0].strip()
        if where.endswith(".py"):
            yield str(Path(where).expanduser().resolve())
        elif where:
            yield where
    if folder and ":" not in text and ("/" in text or text.endswith(".py") or text in (".", "..")):
        path = Path(text).expanduser()
        yield str((path if text.endswith(".py") else path / "suites.py").resolve())


def _remembered() -> set[str]:
    kept = set(os.environ.get(_VARIABLE, "").splitlines())
    with suppress(OSError, UnicodeError):
        kept |= set(_file().read_text(encoding="utf-8").splitlines())
    return kept


def _file() -> Path:
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "headless-eval" / "named"
