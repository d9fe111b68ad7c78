"""Locations of checkpoints: folders, openpi's cache and Hugging Face's. Opens no connection."""

import os
import re
from pathlib import Path

from headless_eval.errors import UserError
from headless_eval.shared.files import is_name

TORCH_FILES = (".pt", ".pth")


def openpi_cache() -> Path:
    """Return openpi's cache: ``$OPENPI_DATA_HOME``, by default ``~/.cache/openpi``."""
    return Path(os.environ.get("OPENPI_DATA_HOME") or Path.home() / ".cache" / "openpi").expanduser()


def cached_path(address: str) -> Path:
    """Return where openpi keeps a copy of an address such as ``gs://openpi-assets/checkpoints/pi05_droid``."""
    return openpi_cache() / address.split(":", 1)[1].strip("/")


def huggingface_cache() -> Path:
    """Return the folder in which Hugging Face's library keeps what it has downloaded."""
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if os.environ.get(variable):
            return Path(os.environ[variable]).expanduser()
    home = os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface"
    return Path(home).expanduser() / "hub"


def is_hub_id(text: str) -> bool:
    """Return whether a text has the form of a hub id, ``owner/name``."""
    return re.fullmatch(r"[\w][\w.-]*/[\w][\w.-]*", text) is not None


def hub_folder(name: str) -> Path:
    """Return where Hugging Face's library keeps a repository of models, by its hub id."""
    return huggingface_cache() / f"models--{name.replace('/', '--')}"


def find_checkpoint(checkpoint: Path | str) -> Path:
    """Return the folder of a checkpoint, or the file that it is.

    Args:
        checkpoint: a folder; a file of ``torch.save`` (``.pt``, ``.pth``); an address such as ``gs://...`` that has
            been fetched; or a hub id ``owner/name`` in Hugging Face's cache, of which the last snapshot counts.

    Raises:
        UserError: the folder or file does not exist, or the address or hub id has no copy in its cache.
    """
    folder = Path(checkpoint).expanduser()
    if folder.is_dir() or (folder.is_file() and folder.suffix in TORCH_FILES):
        return folder
    name = str(checkpoint)
    address = re.fullmatch(r"([a-z0-9]+):/{1,2}(.+)", name)  # a Path has swallowed one slash
    if address:
        full = f"{address[1]}://{address[2]}"
        cached = cached_path(full)
        if cached.is_dir():
            return cached
        raise UserError(f"no copy of {full} at {cached}: run headless-eval fetch {full}")
    if folder.exists():
        raise UserError(
            f"the checkpoint {folder} is a file: it has to be a folder, or a .pt file of open-pi-zero"
        )
    if is_hub_id(name):
        repository = hub_folder(name)
        snapshot = _snapshot(repository)
        if snapshot is not None:
            return snapshot
        raise UserError(
            f"no checkpoint at {folder}: neither a folder nor, at {repository}, a cached hub id; one of the hub is "
            f"downloaded by headless-eval fetch {name}"
        )
    raise UserError(f"no checkpoint at {folder}: it has to be a folder")


def _snapshot(repository: Path) -> Path | None:
    """Return the snapshot that ``main`` refers to, else the newest; None for a repository without snapshots."""
    main = repository / "refs" / "main"
    if main.is_file():
        name = main.read_text(encoding="utf-8").strip()
        if is_name(name) and (named := repository / "snapshots" / name).is_dir():
            return named
    snapshots = [path for path in repository.glob("snapshots/*") if path.is_dir()]
    return max(snapshots, key=lambda path: path.stat().st_mtime, default=None)
