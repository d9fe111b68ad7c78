"""Code and addresses that a run's folder names: used only if the user has used them before, on this machine.

A folder of results may come from anybody, and its manifest names the policy, the suite and the methods that were used.
Whoever goes on with it or verifies it would run that code. So its texts are noted by ``distrust``, and where code is
imported or a connection is made, what such a text could mean is refused: how a text is read matters nowhere but there.
What a run of the user's own began with is kept by ``remember_used``, and ``headless-eval trust DIR`` keeps a folder's
texts: in ``$XDG_STATE_HOME/headless-eval/named``, and in the environment of child processes.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from headless_eval.errors import UserError

_VARIABLE = "HEADLESS_EVAL_NAMED"
_told: dict[str, Path] = {}
_used: dict[str, None] = {}


def texts_in(settings: Any) -> Iterator[str]:
    """Yield the texts of a run's settings that can name code or an address."""
    if not isinstance(settings, Mapping):  # a damaged file's
        return
    for key in ("policy", "suite", "dtypes", "variant"):
        values = settings.get(key)
        for text in values if isinstance(values, list | tuple) else [values]:
            # A suite may be a folder; everything else that is no name of ours has a colon.
            if isinstance(text, str) and set(text) & set(":/." if key == "suite" else ":"):
                yield text


def texts_of(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Yield the texts of a run's manifest that can name code or an address: of its settings, suite and variants."""
    yield from texts_in(manifest.get("settings"))
    variants = [text for variant in manifest["variants"] for text in variant.values()]
    yield from texts_in({"suite": manifest.get("suite"), "dtypes": variants})


def distrust(texts: Iterable[str], folder: Path) -> None:
    """Note texts that a run's folder holds; the message of a refusal names the folder."""
    for text in texts:
        _told.setdefault(text, folder)


def check_code(path: Path | None, module: str, attribute: str) -> None:
    """Refuse code that a run's folder may have named.

    Args:
        path: of a Python file; None for a module that is imported by its name.
        module: the module's name.
        attribute: what of it is used.

    Raises:
        UserError: the user has neither used nor trusted it; the message says how to trust it.
    """
    if path is None:
        _check(f"{module}:{attribute}", lambda text: module in text)
    else:  # a link's name says nothing of its target's
        _check(f"{path}:{attribute}", lambda text: "/" in text or ".py" in text or not text.strip("."))


def check_address(address: str) -> None:
    """Refuse an address that a run's folder may have named; errors as of ``check_code``."""
    _check(address, lambda text: "://" in text)


def remember_used() -> None:
    """Keep what this process has used: none of it was refused."""
    remember(_used)


def remember(names: Iterable[str]) -> None:
    """Keep code, addresses, or texts of a run's settings, for this process, its children and later ones."""
    known = _remembered()
    new = [json.dumps(name) for name in dict.fromkeys(names) if name not in known]
    if new:
        os.environ[_VARIABLE] = "\n".join([*os.environ.get(_VARIABLE, "").splitlines(), *new])
        with suppress(OSError, RuntimeError):  # no home, or one that cannot be written
            _file().parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with open(_file(), "a", encoding="utf-8") as file:
                file.writelines(f"{line}\n" for line in new)


def _check(name: str, may_mean: Callable[[str], bool]) -> None:
    known = _remembered() if _told else set()
    if name not in known:
        for text, folder in _told.items():
            if may_mean(text) and text not in known:
                raise UserError(
                    f"the run {folder} names code or an address that you have not used before ({text!r:.200}); look at "
                    f"it, and if you trust it: headless-eval trust {folder}"
                )
    _used[name] = None


def _remembered() -> set[str]:
    lines = os.environ.get(_VARIABLE, "").splitlines()
    with suppress(OSError, RuntimeError, UnicodeError):
        lines += _file().read_text(encoding="utf-8").splitlines()
    found = set()
    for line in lines:
        with suppress(ValueError):  # a line that was cut, or written by hand
            found.add(str(json.loads(line)))
    return found


def _file() -> Path:
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "headless-eval" / "named"
