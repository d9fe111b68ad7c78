"""Import of the LIBERO package without questions, downloads or output, and with the chosen folder of assets."""

import atexit
import contextlib
import hashlib
import importlib
import importlib.util
import io
import json
import logging
import os
import sys
import tempfile
import types
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from headless_eval.errors import UserError
from headless_eval.sims import gl

_DISTRIBUTIONS = ("libero", "robosuite", "bddl")
_DOWNLOADED = Path.home() / ".cache" / "libero" / "assets"  # the package's own download folder
_OBJECTS = "stable_scanned_objects"  # a folder that all assets contain


@dataclass(frozen=True)
class Package:
    """The imported LIBERO package.

    Args:
        folder: the package's folder, which contains ``bddl_files`` and ``init_files``.
        assets: the folder of assets that the package reads.
        environments: the module ``libero.libero.envs``.
    """

    folder: Path
    assets: Path
    environments: Any

    def problem(self, suite: str, task: str) -> Path:
        """Return the file that describes a task (BDDL)."""
        return self.folder / "bddl_files" / suite / f"{task}.bddl"

    def initial_states(self, suite: str, task: str) -> Path:
        """Return the file with a task's initial states."""
        return self.folder / "init_files" / suite / f"{task}.pruned_init"


def find_folder() -> Path:
    """Return the folder of the package ``libero.libero``; nothing is imported.

    Raises:
        UserError: LIBERO or one of its dependencies is not installed.
    """
    found = {name: _find(name) for name in _DISTRIBUTIONS}
    missing = [name for name, folder in found.items() if folder is None]
    if missing:
        raise UserError(
            f"the LIBERO suites need {', '.join(missing)}, not installed here: use "
            ".venv-libero/bin/headless-eval, which SETUP_ONLY=1 SUITE=libero_spatial scripts/run_headless.sh makes; "
            "or install the extra headless-eval[libero] and then, with pip's --no-deps, hf-libero==0.1.4 "
            "robosuite==1.4.0 bddl==1.0.1"
        )
    folder = Path(found["libero"] or "") / "libero"
    if not (folder / "bddl_files").is_dir():
        raise UserError(f"{folder} holds no tasks of LIBERO: install hf-libero==0.1.4 with pip's --no-deps")
    return folder


def _find(name: str) -> Path | None:
    spec = importlib.util.find_spec(name)
    places = None if spec is None else spec.submodule_search_locations
    return Path(next(iter(places))) if places else None


def find_assets(folder: Path, chosen: Path | None) -> Path:
    """Return the folder of assets: the user's choice, the package's own folder, or the package's download folder.

    Args:
        folder: the package's folder.
        chosen: the user's choice; if given, no other folder is tried.

    Raises:
        UserError: no folder with LIBERO's assets is found.
    """
    if chosen is not None:
        if not (chosen / _OBJECTS).is_dir():
            raise UserError(
                f"{chosen} is no folder of LIBERO's assets ({_OBJECTS} is not in it): --libero-assets or LIBERO_ASSETS "
                "names the folder 'assets' of LIBERO's repository"
            )
        return chosen.resolve()
    for place in (folder / "assets", _DOWNLOADED):
        if (place / _OBJECTS).is_dir():
            return place.resolve()
    raise UserError(
        "LIBERO's assets (meshes, textures, scenes) are missing, and headless-eval never downloads them: set "
        "--libero-assets or LIBERO_ASSETS to the folder 'assets' of LIBERO's repository, or to a copy of the "
        "data set lerobot/libero-assets"
    )


def load(chosen_assets: Path | None, render: gl.Render | None = None) -> Package:
    """Import the package, with settings written beforehand so that it does not ask for them on standard input.

    Args:
        chosen_assets: the user's folder of assets; None: the package's own.
        render: what draws, as ``gl.load_mujoco`` takes it.

    Raises:
        UserError: the package, its assets or OpenGL are missing, or the import fails.
    """
    folder = find_folder()
    assets = find_assets(folder, chosen_assets)
    gl.load_mujoco(render)
    with _settings(folder, assets), silence():
        _quiet_robosuite()
        try:
            module: Any = importlib.import_module("libero.libero")
            # The package's own search would start a download if its folder had no assets.
            module._assets_path_cache = str(assets)
            environments = importlib.import_module("libero.libero.envs")
        except (ImportError, AttributeError) as error:
            raise UserError(
                f"LIBERO cannot be imported ({type(error).__name__}: {error}): install "
                "the extra headless-eval[libero], or let SETUP_ONLY=1 SUITE=libero_spatial scripts/run_headless.sh "
                "make .venv-libero"
            ) from error
    return Package(folder, assets, environments)


@lru_cache(maxsize=1)
def _settings_folder() -> Path:
    """Return a temporary folder with the package's settings, which exists until the process ends."""
    folder = tempfile.TemporaryDirectory(prefix="headless-eval-libero-")
    atexit.register(folder.cleanup)
    return Path(folder.name)


@contextlib.contextmanager
def _settings(folder: Path, assets: Path) -> Iterator[None]:
    """Make the package read our settings on import; the user's settings are neither read nor written."""
    place, before = _settings_folder(), os.environ.get("LIBERO_CONFIG_PATH")
    settings = {
        "assets": str(assets),
        "bddl_files": str(folder / "bddl_files"),
        "benchmark_root": str(folder),
        "datasets": str(place),
        "init_states": str(folder / "init_files"),
    }
    (place / "config.yaml").write_text(json.dumps(settings))  # JSON is YAML
    os.environ["LIBERO_CONFIG_PATH"] = str(place)
    try:
        yield
    finally:
        if before is None:
            del os.environ["LIBERO_CONFIG_PATH"]
        else:
            os.environ["LIBERO_CONFIG_PATH"] = before


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Hide the package's output and warnings."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def _quiet_robosuite() -> None:
    """Provide robosuite's private settings, without its log file in /tmp; otherwise robosuite prints warnings."""
    settings: Any = types.ModuleType("robosuite.macros_private")
    settings.CONSOLE_LOGGING_LEVEL = settings.FILE_LOGGING_LEVEL = None
    sys.modules.setdefault(settings.__name__, settings)
    logging.getLogger("robosuite_logs").addHandler(logging.NullHandler())


def fingerprint(assets: Path) -> str:
    """Return the SHA-256 of a folder of assets, over names and contents in the order of the names."""
    digest = hashlib.sha256()
    for path in sorted(assets.rglob("*"), key=lambda path: path.relative_to(assets).as_posix()):
        if path.is_file():
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            digest.update(f"{path.relative_to(assets).as_posix()} {content}\n".encode())
    return digest.hexdigest()
