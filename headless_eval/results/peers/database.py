"""An SQLite file that may come from anybody, opened to be read and nothing else.

Nothing is written beside it or to it, no extension is loaded, and only plain tables are read: views, virtual tables,
computed columns and functions, which a file can bring with it, are refused before they are evaluated.
"""

import sqlite3
import time
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from headless_eval.shared.text import printable

_MOST_BYTES = 4 * 2**20
_MOST_ROWS = 5_000_000
_SECONDS = 120.0
_LIMITS = {
    sqlite3.SQLITE_LIMIT_LENGTH: _MOST_BYTES,
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 100_000,
    sqlite3.SQLITE_LIMIT_COLUMN: 100,
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 20,
    sqlite3.SQLITE_LIMIT_COMPOUND_SELECT: 1,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH: 1,
}
_OPERATIONS = 100_000  # between two looks at the clock


class Database:
    """Some plain tables of a file; it is closed when nobody refers to it any more.

    Args:
        path: an SQLite file.
        tables: the names of the tables to read, where they are there.

    Raises:
        ValueError: it is no regular file, no SQLite file, or not whole; the message says which.
    """

    def __init__(self, path: Path, tables: Sequence[str]) -> None:
        if not path.is_file():
            raise ValueError("it is no regular file")
        for ending in ("-journal", "-wal"):
            beside = path.with_name(path.name + ending)
            if beside.exists() and beside.stat().st_size:
                raise ValueError(
                    f"{beside.name} lies beside it: it is being written, or was when its writer was killed; wait, or "
                    "let vla-eval open it once (vla-eval export)"
                )
        try:
            # Immutable: no lock and no journal is made, so that a folder without the right to write is enough.
            place = f"{path.resolve().as_uri()}?mode=ro&immutable=1"
            self._connection = sqlite3.connect(place, uri=True, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as error:
            raise ValueError(f"SQLite cannot open it: {_said(error)}") from None
        weakref.finalize(self, self._connection.close)
        for limit, value in _LIMITS.items():
            self._connection.setlimit(limit, value)
        self._deadline = time.monotonic() + _SECONDS
        self._connection.set_progress_handler(self._late, _OPERATIONS)
        try:
            for setting in ("trusted_schema=OFF", "query_only=ON", "cell_size_check=ON", "mmap_size=0"):
                self._connection.execute(f"PRAGMA {setting}")
            self._tables = {name for name in tables if self._is_plain(name)}
        except sqlite3.Error as error:
            raise ValueError(f"it is no SQLite file, or damaged: {_said(error)}") from None
        self._connection.set_authorizer(self._allowed)

    def has(self, table: str) -> bool:
        """Return whether there is this plain table."""
        return table in self._tables

    def rows(self, query: str, values: tuple[Any, ...] = ()) -> Iterator[dict[str, Any]]:
        """Yield the rows of a query by column.

        Raises:
            ValueError: the file is damaged, is beyond the limits, or wants more than to be read.
        """
        self._deadline = time.monotonic() + _SECONDS
        try:
            cursor = self._connection.execute(query, values)
            names = [column[0] for column in cursor.description]
            for number, row in enumerate(cursor):
                if number >= _MOST_ROWS:
                    raise ValueError(f"a table has more than {_MOST_ROWS:,} rows")
                yield dict(zip(names, row, strict=True))
        except sqlite3.Error as error:
            raise ValueError(f"it is damaged, or beyond the limits of what is read: {_said(error)}") from None

    def _is_plain(self, table: str) -> bool:
        query = "SELECT 1 FROM sqlite_master WHERE name = ? AND type = 'table' AND rootpage > 0"
        if self._connection.execute(query, (table,)).fetchone() is None:
            return False
        columns = self._connection.execute(f"PRAGMA table_xinfo({table})").fetchall()
        return all(hidden == 0 for *_, hidden in columns)

    def _late(self) -> int:
        return int(time.monotonic() > self._deadline)

    def _allowed(self, action: int, one: str | None, two: str | None, *others: str | None) -> int:
        reads = action == sqlite3.SQLITE_SELECT or (action == sqlite3.SQLITE_READ and one in self._tables)
        return sqlite3.SQLITE_OK if reads else sqlite3.SQLITE_DENY


def _said(error: sqlite3.Error) -> str:
    """Return what SQLite says, in a line, without the text of the file that it may repeat."""
    return " ".join(printable(str(error).partition(" with text ")[0]).split())[:200]
