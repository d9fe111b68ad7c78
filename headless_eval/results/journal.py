"""The journal: one JSON line per episode, on disk before the next episode is recorded."""

import fcntl
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from headless_eval.errors import CannotWrite, UserError
from headless_eval.results.record import EpisodeRecord
from headless_eval.shared.files import Folder
from headless_eval.shared.foreign import abandon_in_children
from headless_eval.shared.untrusted import parse_json

FILE = "journal.jsonl"

_LONGEST = 2**24  # bytes of a line; one that is longer is taken for several, which are no records

_log = logging.getLogger(__name__)


def read_journal(folder: Folder) -> Iterator[EpisodeRecord]:
    """Yield the records of a run's journal in the order of writing.

    An incomplete last line, left by a crash or a power loss, is dropped with a notice.

    Raises:
        UserError: the file cannot be read, or a line other than the last is damaged.
    """
    records, _ = _scan(folder)
    yield from records


def is_being_written(folder: Folder) -> bool:
    """Return whether a process of this machine has a run's journal open for writing; False if it cannot be read.

    The lock that a writer would have is taken for a moment.
    """
    try:
        file = folder.open(FILE)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks
        return False
    finally:
        os.close(file)
    return False


class JournalWriter:
    """Writer of a journal, with a lock against other processes.

    Opening an existing journal cuts off an incomplete last line, so that the next record starts a new line.

    Args:
        folder: the run's.
        new: create the file; it must not exist.

    Raises:
        UserError: another process is writing the journal, or the file cannot be opened.
        FileExistsError: ``new`` is given and the file exists.
    """

    def __init__(self, folder: Folder, *, new: bool = False) -> None:
        path = folder.path / FILE
        try:
            self._file = folder.open(FILE, os.O_RDWR | os.O_APPEND | (os.O_CREAT | os.O_EXCL if new else 0))
        except FileExistsError:
            raise
        except OSError as error:
            raise UserError(f"cannot write {path}: {error.strerror}") from None
        try:
            self._lock(path)
            self._size = 0 if new else self._mend(folder)
        except BaseException:
            os.close(self._file)
            raise
        abandon_in_children(self)

    def append(self, record: EpisodeRecord) -> None:
        """Write one record and wait until it is on disk.

        Raises:
            CannotWrite: the record cannot be written; the journal then ends with the previous record.
        """
        line = record.to_json().encode() + b"\n"
        try:
            written = 0
            while written < len(line):
                written += os.write(self._file, line[written:])
            os.fsync(self._file)
        except OSError as error:
            os.ftruncate(self._file, self._size)
            raise CannotWrite("the journal", error.strerror) from error
        self._size += len(line)

    @property
    def is_deleted(self) -> bool:
        """Whether the file was deleted meanwhile."""
        return os.fstat(self._file).st_nlink == 0

    def abandon(self) -> None:
        """Close the file in a forked process: else that process would hold the lock after its parent's end."""
        self.close()

    def close(self) -> None:
        """Release the journal; a second call does nothing."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _lock(self, path: Path) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{path.parent} is being written by another process; wait or choose another"
            ) from None
        except OSError as error:
            raise UserError(
                f"cannot lock {path}: {error.strerror}; choose a folder on a local disk"
            ) from None

    def _mend(self, folder: Folder) -> int:
        _, good = _scan(folder)
        os.ftruncate(self._file, good)
        if good and os.pread(self._file, 1, good - 1) != b"\n":
            os.write(self._file, b"\n")
            good += 1
        os.fsync(self._file)
        return good


def _scan(folder: Folder) -> tuple[list[EpisodeRecord], int]:
    """Return a journal's records and the length in bytes of the complete lines."""
    path = folder.path / FILE
    records: list[EpisodeRecord] = []
    good = 0
    damage = ""
    try:
        with folder.reader(FILE) as file:
            for number, line in enumerate(iter(lambda: file.readline(_LONGEST), b""), start=1):
                if damage:
                    raise UserError(
                        f"{path}, line {number - 1}: {damage}; restore the file or start a new run"
                    )
                try:
                    fields = parse_json(line)
                except ValueError as error:
                    damage = str(error)
                    continue
                try:
                    records.append(EpisodeRecord.from_dict(fields))
                except UserError as error:
                    raise UserError(f"{path}, line {number}: {error}") from None
                good += len(line)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    if damage:
        _log.warning("%s: dropped the torn last line; %d episodes are whole", path, len(records))
    return records, good
