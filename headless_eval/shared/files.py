"""Folders held open, files that are written whole or not at all, and names that lead out of no folder.

Whoever can write to a folder, or sends one, can put links into it. So files are opened by the handle of their folder
and never through a link, and those that are not whole yet have names that nobody can guess.
"""

import errno
import glob
import os
import secrets
import shutil
import stat
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import IO, Any, Self

from headless_eval.errors import UserError


class Folder:
    """A folder held open: its files are reached by this handle, wherever the folder's path leads meanwhile.

    Links in it are followed neither to files nor to folders, and what is no regular file is not opened. A context
    manager, which closes the handle; it is closed at the latest when nobody refers to it any more.

    Args:
        path: of a folder that exists; links that lead to it are followed.

    Attributes:
        path: as given.

    Raises:
        OSError: there is no such folder, or it cannot be opened.
    """

    def __init__(self, path: Path, *, within: "Folder | None" = None) -> None:
        self.path = path
        self._absolute = Path(os.path.abspath(path))
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        if within is None:
            self._handle = os.open(path, flags)
        else:
            with within._told(path.name):
                self._handle = os.open(path.name, flags | os.O_NOFOLLOW, dir_fd=within._handle)
        self._close = weakref.finalize(self, os.close, self._handle)

    def folder(self, name: str, *, make: bool = False) -> "Folder":
        """Return a folder in this one; with ``make`` it is made if it is missing.

        Raises:
            OSError: there is no such folder, it cannot be made, or it is a link.
        """
        if make:
            with suppress(FileExistsError):
                os.mkdir(_checked(name), dir_fd=self._handle)
        return Folder(self.path / _checked(name), within=self)

    def open(self, name: str, flags: int = os.O_RDONLY) -> int:
        """Open a file and return its descriptor, which the caller closes.

        Args:
            name: in this folder.
            flags: as of ``os.open``.

        Raises:
            OSError: the file cannot be opened, or is a link or no regular file; or it is to be changed, and has a
                second name (a hard link) elsewhere.
        """
        # Not blocking: opening a pipe would wait for its other end.
        flags |= os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        with self._told(name):
            file = os.open(_checked(name), flags, 0o666, dir_fd=self._handle)
        found = os.fstat(file)
        reason = None
        if not stat.S_ISREG(found.st_mode):
            reason = "it is no regular file"
        elif flags & (os.O_WRONLY | os.O_RDWR) and found.st_nlink > 1:
            reason = "it has a second name elsewhere (a hard link), whose content would change, too"
        if reason is not None:
            os.close(file)
            raise OSError(errno.EINVAL, reason, name)
        return file

    def reader(self, name: str) -> IO[bytes]:
        """Open a file for reading its bytes; errors as of ``open``."""
        return os.fdopen(self.open(name), "rb")

    def temporary(self, name: str, ending: str) -> tuple[str, int]:
        """Make an empty file that becomes ``name`` by ``rename`` once it is whole.

        Returns:
            Its name, which nobody can guess, and its descriptor, which the caller closes.

        Raises:
            OSError: it cannot be made.
        """
        unfinished = _unfinished(name, ending)
        return unfinished, self.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_EXCL)

    @contextmanager
    def replacing(self, name: str, mode: str = "w") -> Iterator[IO[Any]]:
        """Open a new file that replaces ``name`` when the block ends without an exception; see the function."""
        text: dict[str, Any] = {} if "b" in mode else {"encoding": "utf-8", "newline": ""}
        with self.becoming(name) as (_, descriptor), os.fdopen(descriptor, mode, **text) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())

    @contextmanager
    def becoming(self, name: str) -> Iterator[tuple[str, int]]:
        """Make an empty file as of ``temporary``; it replaces ``name`` when the block ends without an exception."""
        temporary, descriptor = self.temporary(name, "tmp")
        try:
            yield temporary, descriptor
            self.rename(temporary, name)
        except BaseException:
            self.remove(temporary)
            raise

    def rename(self, name: str, new: str) -> None:
        """Rename a file within the folder; a file or a link of that name is replaced.

        Raises:
            OSError: it cannot be renamed.
        """
        os.replace(_checked(name), _checked(new), src_dir_fd=self._handle, dst_dir_fd=self._handle)

    def remove(self, name: str) -> None:
        """Remove a file or a link; if it is missing or cannot be removed, nothing happens."""
        with suppress(OSError):
            os.unlink(_checked(name), dir_fd=self._handle)

    def holds(self, name: str) -> bool:
        """Return whether there is a regular file of this name, which is no link."""
        try:
            return stat.S_ISREG(os.stat(name, dir_fd=self._handle, follow_symlinks=False).st_mode)
        except (OSError, ValueError):
            return False

    def status(self) -> os.stat_result:
        """Return owner, mode and so on of the folder itself."""
        return os.fstat(self._handle)

    def files(self) -> Iterator[tuple["Folder", str]]:
        """Yield all regular files in this folder and in those within it: their folder and their name."""
        with os.scandir(self._handle) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        for entry in found:
            if entry.is_file(follow_symlinks=False):
                yield self, entry.name
            elif entry.is_dir(follow_symlinks=False):
                with suppress(OSError), self.folder(entry.name) as inner:
                    yield from inner.files()

    @property
    def is_at_its_path(self) -> bool:
        """Whether the path still leads to this folder: it was neither deleted nor renamed."""
        try:
            return os.path.samestat(os.stat(self._absolute), self.status())
        except OSError:
            return False

    def close(self) -> None:
        """Close the handle; a second call does nothing."""
        self._close()
        self._handle = -1  # the number may become another file's

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _told(self, name: str) -> Iterator[None]:
        """Name the link in the error where the system refuses to follow it and says something else."""
        try:
            yield
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR) and self._is_link(name):
                raise OSError(errno.ELOOP, "it is a link, and links are not followed", name) from None
            raise

    def _is_link(self, name: str) -> bool:
        with suppress(OSError):
            return stat.S_ISLNK(os.stat(name, dir_fd=self._handle, follow_symlinks=False).st_mode)
        return False


def _checked(name: str) -> str:
    if not is_name(name):
        raise OSError(errno.EINVAL, "it is no name of a file", name)
    return name


def _unfinished(name: str, ending: str) -> str:
    return f".{name}.{secrets.token_hex(8)}.{ending}"


def is_name(text: str) -> bool:
    """Return whether a text is the name of one file or folder, and no path."""
    return is_inside(text) and "/" not in text


def is_inside(text: str) -> bool:
    """Return whether a text is a relative path that stays in the folder that it starts from."""
    parts = PurePosixPath(text).parts
    try:
        os.fsencode(text)
    except UnicodeEncodeError:  # half of a character
        return False
    return bool(parts) and not text.startswith("/") and ".." not in parts and not set(text) & {"\\", "\0"}


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Give the path of an empty file, which replaces ``path`` when the block ends without an exception.

    For writers that take a path; others write by ``replacing``. The file is in the same folder.

    Raises:
        OSError: the file cannot be made or moved; ``path`` then keeps its old content.
    """
    with Folder(path.parent) as folder, folder.becoming(path.name) as (temporary, descriptor):
        os.close(descriptor)
        yield path.with_name(temporary)


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
    with Folder(path.parent) as folder, folder.replacing(path.name, mode) as file:
        yield file


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Give a folder to write into, which becomes ``target`` when the block ends without an exception.

    Raises:
        UserError: the target holds something, or cannot be written.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UserError(f"{target} is there already: name a folder that is not, or an empty one")
    target = Path(os.path.abspath(target))
    for left in target.parent.glob(f".{glob.escape(target.name)}.*.partial"):  # by a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    temporary = target.with_name(_unfinished(target.name, "partial"))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
        try:
            yield temporary
            temporary.replace(target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise UserError(f"cannot write {target}: {error.strerror or error}") from None


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
