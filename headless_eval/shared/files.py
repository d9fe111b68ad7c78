"""Files and folders that are written whole or not at all, and a check whether a folder can be written."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from headless_eval.errors import UserError


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Give a path in the same folder, whose file replaces ``path`` when the block ends without an exception.

    For writers that take a path; others write by ``replacing``.

    Raises:
        OSError: the file cannot be moved; ``path`` then keeps its old content.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def replacing(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a new file that replaces ``path`` when the block ends without an exception.

    A reader sees the old content or the new, never a part; the content is flushed to disk before the file is renamed.

    Args:
        path: the file to write; its folder must exist.
        mode: ``"w"`` for UTF-8 text with line ends as written, ``"wb"`` for bytes.

    Raises:
        OSError: the file cannot be written; ``path`` then keeps its old content.
    """
    text: dict[str, Any] = {} if "b" in mode else {"encoding": "utf-8", "newline": ""}
    with replaced(path) as temporary, open(temporary, mode, **text) as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Give a folder to write into, which becomes ``target`` when the block ends without an exception.

    Raises:
        UserError: the target holds something, or cannot be written.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UserError(f"{target} is there already: name a folder that is not, or an empty one")
    temporary = target.with_name(f".{target.name}.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if target.is_dir():
            target.rmdir()
        temporary.rename(target)
    except OSError as error:
        raise UserError(f"cannot write {target}: {error.strerror or error}") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def try_folder(folder: Path) -> None:
    """Check that files can be made in a folder, which need not exist. Nothing that the check makes is left behind.

    Raises:
        OSError: no file can be made in the folder.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    made = []
    try:
        for path in reversed(missing):
            path.mkdir()
            made.append(path)
        tempfile.TemporaryFile(dir=folder).close()
    finally:
        for path in reversed(made):
            with suppress(OSError):  # another process may have put a file there
                path.rmdir()
