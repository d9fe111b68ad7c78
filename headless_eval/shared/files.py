"""Files that are there whole or not at all, and whether a folder takes any."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any


@contextmanager
def replacing(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a new file that takes the place of ``path`` when the block ends without an exception.

    A reader sees the old content or the new, never a part; the content is on disk before the name is.

    Args:
        path: the file to write; its folder must exist.
        mode: ``"w"`` for UTF-8 text with line ends as written, ``"wb"`` for bytes.

    Raises:
        OSError: if it cannot be written; ``path`` is then as it was.
    """
    text: dict[str, Any] = {} if "b" in mode else {"encoding": "utf-8", "newline": ""}
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, mode, **text) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def try_folder(folder: Path) -> None:
    """Find out whether files can be made in a folder, which need not be there; nothing of the trial stays.

    Raises:
        OSError: they cannot.
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
            with suppress(OSError):  # another process may use it by now
                path.rmdir()
