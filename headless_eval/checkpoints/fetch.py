"""Downloads of published checkpoints into openpi's cache, and of hub ids into Hugging Face's."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from headless_eval.checkpoints.hub import Repository
from headless_eval.checkpoints.locate import cached_path, is_hub_id
from headless_eval.errors import UserError
from headless_eval.shared.files import replacing
from headless_eval.shared.program import install
from headless_eval.shared.terminal import new_console

_BLOCK = 8 * 2**20
_LIBRARIES = {"gs": "gcsfs", "gcs": "gcsfs", "s3": "s3fs", "hf": "huggingface_hub"}


def fetch(address: str, target: Path | None = None) -> Path:
    """Download a folder, a file or a repository of the hub, continuing an earlier download that broke off.

    An unfinished file is called ``NAME.partial``; it gets its name when it has its whole length. Files that already
    have that length are kept.

    Args:
        address: such as ``gs://openpi-assets/checkpoints/pi05_droid``; or a hub id, ``owner/name``, which goes to the
            cache of Hugging Face's library.
        target: where the copy of an address goes; by default ``cached_path(address)``.

    Returns:
        The path of the copy.

    Raises:
        UserError: the address is empty or cannot be reached, its library is missing, or the copy cannot be written.
    """
    if is_hub_id(address):
        return _fetch_repository(address)
    protocol, separator, rest = address.partition("://")
    if not separator or not rest.strip("/"):
        raise UserError(
            f"{address!r} is no address of a checkpoint: write an address such as "
            "gs://openpi-assets/checkpoints/pi05_droid, or a hub id such as lerobot/pi05_base"
        )
    target = target or cached_path(address)
    filesystem, root = _open(address, protocol)
    try:
        files = _files(filesystem, root)
    except (OSError, RuntimeError) as error:
        raise UserError(f"cannot list {address}: {_reason(error)}") from None
    if not files:
        raise UserError(f"there is nothing at {address}")
    _copy_all(filesystem, files, root, target, address)
    return target


def _fetch_repository(name: str) -> Path:
    """Download a repository of the hub to where Hugging Face's library looks for it; return the snapshot's folder."""
    repository = Repository(name)
    if not repository.files:
        raise UserError(f"there is nothing in {name}")
    snapshot = repository.folder / "snapshots" / repository.revision
    # No unfinished snapshot: what is there counts as a checkpoint.
    target = snapshot if snapshot.is_dir() else repository.folder / f"{repository.revision}.partial"
    _copy_all(repository, repository.files, "", target, name)
    if target != snapshot:
        snapshot.parent.mkdir(exist_ok=True)
        target.replace(snapshot)
    main = repository.folder / "refs" / "main"
    main.parent.mkdir(exist_ok=True)
    with replacing(main) as file:
        file.write(repository.revision)
    return snapshot


def _copy_all(filesystem: Any, files: Mapping[str, int], root: str, target: Path, name: str) -> None:
    """Copy files below a root into a folder, with a progress bar.

    Raises:
        UserError: a file would lie outside the folder, or the copy broke off or cannot be written.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=new_console(stderr=True)) as progress:
        task = progress.add_task(name.rstrip("/").rpartition("/")[2], total=sum(files.values()))
        for path, size in files.items():
            relative = path[len(root) :].lstrip("/")
            to = target / relative if relative else target
            # Links are not followed: those in Hugging Face's cache lead out of the snapshot.
            inside = (
                Path(os.path.normpath(target.absolute())) in Path(os.path.normpath(to.absolute())).parents
            )
            if relative and not inside:
                raise UserError(f"{name} names a file outside its folder ({relative}): not copied")
            try:
                _copy(filesystem, path, to, size, lambda count: progress.advance(task, count))
            except (OSError, RuntimeError) as error:
                raise UserError(
                    f"copying {path} broke off ({_reason(error)}): the same command continues it"
                ) from None


def _open(address: str, protocol: str) -> tuple[Any, str]:
    try:
        import fsspec

        filesystem, root = fsspec.core.url_to_fs(
            address, **({"token": "anon"} if protocol in ("gs", "gcs") else {})
        )
    except ImportError:
        library = _LIBRARIES.get(protocol, "fsspec")
        raise UserError(
            f"{protocol}:// needs {library}, which is not installed: {install('headless-eval[fetch]')}"
        ) from None
    except ValueError as error:
        raise UserError(f"cannot read from {address}: {_reason(error)}") from None
    return filesystem, str(root).rstrip("/")


def _files(filesystem: Any, root: str) -> dict[str, int]:
    """Return the files of a folder, or the file itself, with sizes in bytes; smallest first: mistakes show early."""
    found = filesystem.find(root, detail=True)
    sizes = {path: int(entry["size"]) for path, entry in found.items() if entry["type"] == "file"}
    return dict(sorted(sizes.items(), key=lambda item: (item[1], item[0])))


def _copy(filesystem: Any, path: str, to: Path, size: int, advance: Any) -> None:
    if to.is_file() and to.stat().st_size == size:
        advance(size)
        return
    partial = to.with_name(f"{to.name}.partial")
    to.parent.mkdir(parents=True, exist_ok=True)
    have = partial.stat().st_size if partial.is_file() else 0
    if have > size:
        have = 0
    advance(have)
    with partial.open("r+b" if have else "wb") as file:
        file.seek(have)
        while have < size:
            block = filesystem.cat_file(path, start=have, end=min(size, have + _BLOCK))
            if not block:
                raise OSError(f"it ended after {have} of {size} bytes")
            file.write(block)
            have += len(block)
            advance(len(block))
    partial.replace(to)


def _reason(error: BaseException) -> str:
    lines = str(error).splitlines()
    return lines[0][:200] if lines else type(error).__name__
