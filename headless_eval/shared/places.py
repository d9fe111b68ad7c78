"""Places of Python objects that a user names: ``module:attribute`` or ``path/to/file.py:attribute``.

Only what the user names is imported and so executed. A module is looked for like any other, then in the current folder.
A file is imported from where it lies; it can import what lies beside it. A file that has changed is imported anew.
"""

import hashlib
import importlib.util
import re
import sys
import sysconfig
from collections.abc import Iterator
from importlib import import_module
from importlib.machinery import SourceFileLoader
from importlib.metadata import packages_distributions, version
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, NamedTuple

from headless_eval.errors import UserError
from headless_eval.shared import consent
from headless_eval.shared.foreign import foreign_code
from headless_eval.shared.suggest import unknown

_NAME = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"


class Place(NamedTuple):
    """A place, taken apart.

    Args:
        path: the Python file; None for a module that is imported by its name.
        module: the module's name; for a file a name that its path and its content determine.
        attribute: the attribute's name, with dots for an attribute of an attribute.
    """

    path: Path | None
    module: str
    attribute: str


def is_place(text: str) -> bool:
    """Return whether a text has the form of a place: ``module:attribute`` or ``path/to/file.py:attribute``."""
    return re.fullmatch(rf"({_NAME}|.+\.py):{_NAME}", text) is not None


def find(text: str, what: str) -> Place:
    """Take a place apart; nothing is imported.

    Args:
        text: the place.
        what: the kind of thing that it names, for messages, such as ``"suite"``.

    Raises:
        UserError: the text is no place, or the file does not exist.
    """
    if not is_place(text):
        raise UserError(f"{what} {text!r}: write module:attribute or path/to/file.py:attribute")
    where, _, attribute = text.rpartition(":")
    if not where.endswith(".py"):
        return Place(None, where, attribute)
    path = Path(where).expanduser().resolve()
    if not path.is_file():
        raise UserError(f"{what} {text!r}: there is no file {path}")
    return Place(path, _name_of(path), attribute)


def load(text: str, what: str) -> Any:
    """Import the object at a place.

    Args:
        text: the place.
        what: the kind of thing that it names, for messages, such as ``"suite"``.

    Raises:
        UserError: the text is no place, the module or the attribute does not exist, or importing it fails.
    """
    place = find(text, what)
    found: Any = load_module(place, f"{what} {text!r}")
    for name in place.attribute.split("."):
        if not hasattr(found, name):
            public = (
                [one for one in vars(found) if not one.startswith("_")] if hasattr(found, "__dict__") else []
            )
            raise unknown(f"attribute of {text.rpartition(':')[0]} for the {what}", name, public)
        found = getattr(found, name)
    return found


def load_module(place: Place, what: str) -> ModuleType:
    """Import the module of a place.

    Args:
        place: the place.
        what: the thing that is looked for, for messages.

    Raises:
        UserError: the module does not exist, or importing it fails; the message names the line. Or a run's folder named
            it, and the user has neither used nor trusted it, see ``consent``.
    """
    consent.check_code(*place)
    folder = str(Path.cwd() if place.path is None else place.path.parent)
    if folder not in sys.path and (place.path is not None or "" not in sys.path):
        sys.path.append(folder)  # for good: functions import what lies beside their file when they are called
    try:
        with foreign_code():
            return (
                import_module(place.module) if place.path is None else _import_file(place.path, place.module)
            )
    except ModuleNotFoundError as error:
        if place.path is None and f"{place.module}.".startswith(f"{error.name}."):
            raise UserError(
                f"{what}: there is no module {error.name}, neither installed nor in the current folder"
            ) from None
        raise UserError(f"{what} cannot be imported: {error}; install what is missing") from error
    except Exception as error:
        raise UserError(
            f"{what} cannot be imported ({type(error).__name__}: {error}{line_of(error)})"
        ) from error


def describe(place: Place) -> dict[str, Any]:
    """Return where the code at a place comes from, for a manifest; its module is imported.

    Returns:
        ``origin``, which has the ``place`` without the folder of a file, and the ``distribution`` and its ``version``,
        or None where no installed distribution holds it; ``file``, its path; ``code``, as of ``code_of``.
    """
    origin = {} if place.path is not None else origin_of_module(place.module)
    return {
        "origin": {
            "place": f"{place.path.name if place.path else place.module}:{place.attribute}",
            "distribution": origin.get("distribution"),
            "version": origin.get("version"),
        },
        "file": getattr(sys.modules[place.module], "__file__", None),
        "code": code_of(place),
    }


def origin_of_module(name: str) -> dict[str, str]:
    """Return the distribution, its version and the hash of the code of an imported module.

    The code is that of the whole package for a module of a package, else that of the file alone. Entries that do not
    apply are left out.
    """
    top = name.partition(".")[0]
    entries = {"module": name}
    distribution = next(iter(packages_distributions().get(top, ())), None)
    if distribution is not None:
        entries |= {"distribution": distribution, "version": version(distribution)}
    package = sys.modules.get(top)
    for folder in getattr(package, "__path__", ()):
        entries["sha256"] = sha256_of(Path(folder))
        return entries
    file = getattr(package, "__file__", None)
    return entries if file is None else entries | {"sha256": sha256_of(Path(file))}


def code_of(place: Place) -> dict[str, str]:
    """Return SHA-256 hashes of the code of a place whose module is imported.

    Returns:
        For a module of a package one hash of all the package's Python files, by the package's name; else a hash of
        each imported file of the module's folder, by its path there. Libraries beside the module are left out.
    """
    top = place.module.partition(".")[0]
    for folder in getattr(sys.modules[top], "__path__", ()):
        return {top: sha256_of(Path(folder))}
    own = Path(sys.modules[place.module].__file__ or "").resolve()
    paths = {own, *_imported_from(own.parent)}
    return {path.relative_to(own.parent).as_posix(): sha256_of(path) for path in sorted(paths)}


def _imported_from(folder: Path) -> Iterator[Path]:
    """Yield the files of imported modules below a folder, without libraries' and this package's own."""
    paths = sysconfig.get_paths()
    libraries = [Path(paths[name]).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    libraries.append(Path(__file__).resolve().parents[1])
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        path = Path(file).resolve() if file else folder
        outside = any(path.is_relative_to(library) for library in libraries) or "site-packages" in path.parts
        if path.suffix == ".py" and path.is_relative_to(folder) and path.is_file() and not outside:
            yield path


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, or of the names and contents of all Python files below a folder."""
    if path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*.py"), key=lambda file: file.relative_to(path).as_posix()):
        content = file.read_bytes()
        digest.update(f"{file.relative_to(path).as_posix()} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def _name_of(path: Path) -> str:
    digest = hashlib.sha256(f"{path}\n".encode() + path.read_bytes()).hexdigest()
    stem = re.sub(r"\W", "_", path.stem)
    return f"headless_eval_file_{stem}_{digest[:12]}"


class _Uncached(SourceFileLoader):
    """A loader that compiles the source: Python's cache takes a file of the same size and second for the same."""

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.get_data(self.path), self.path)


def _import_file(path: Path, name: str) -> ModuleType:
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path, loader=_Uncached(name, str(path)))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # before it is executed: dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def line_of(error: Exception) -> str:
    """Return the file and line where code of a user's failed, as ``, file.py line 3``; nothing for an unknown line."""
    if isinstance(error, SyntaxError):
        return ""  # its message names them
    trace, last = error.__traceback__, ""
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if not file.startswith("<"):
            last = f", {Path(file).name} line {trace.tb_lineno}"
        trace = trace.tb_next
    return last
