"""JSON and TOML that may come from anybody, read within bounds of size, depth and numbers.

What is read holds no number that is not finite or needs more than 64 bits, and no character that a terminal would obey:
those become visible escapes such as ``\\x1b``.
"""

import math
import os
import re
import stat
import tomllib
from pathlib import Path
from typing import IO, Any, TypeVar

import msgspec

from headless_eval.shared.text import printable

T = TypeVar("T")

MOST_BYTES = 64 * 2**20
"""The largest file that is read."""

DEPTH = 64
"""The most tables and lists within each other."""

_MOST = 2**64
_NOT_FINITE = re.compile(r"[\s:\[,-](NaN|Infinity)\b")


def parse_json(content: bytes | str) -> Any:
    """Return the value of a JSON text in UTF-8.

    Raises:
        ValueError: it is no JSON, or beyond the bounds; the message says what is wrong.
    """
    try:
        value = msgspec.json.decode(content)
    except RecursionError:
        raise _too_deep() from None
    except msgspec.MsgspecError as error:
        text = content.decode(errors="replace") if isinstance(content, bytes) else content
        # Python writes them, though JSON has none.
        if _NOT_FINITE.search(text):
            raise ValueError("not JSON: it holds NaN or Infinity; finite numbers are needed") from None
        raise ValueError(f"not JSON: {str(error).removeprefix('JSON is malformed: ')}") from None
    except UnicodeError:
        raise ValueError("not JSON: its text is not UTF-8") from None
    return _within_bounds(value, DEPTH)


def parse_toml(content: bytes) -> dict[str, Any]:
    """Return the table of a TOML text in UTF-8.

    Raises:
        ValueError: it is no TOML, or beyond the bounds; the message says what is wrong.
    """
    try:
        table = tomllib.loads(content.decode())
    except RecursionError:
        raise _too_deep() from None
    except UnicodeError:
        raise ValueError("not TOML: its text is not UTF-8") from None
    except ValueError as error:
        raise ValueError(f"not TOML: {printable(str(error))}") from None
    checked: dict[str, Any] = _within_bounds(table, DEPTH)
    return checked


def read_json(path: Path) -> Any:
    """Return the value in a JSON file.

    Raises:
        OSError: the file does not exist, cannot be read, or is no regular file.
        ValueError: as of ``parse_json``, or the file is larger than ``MOST_BYTES``.
    """
    return parse_json(_content(path))


def read_toml(path: Path, *, regular: bool = True) -> dict[str, Any]:
    """Return the table in a TOML file.

    Args:
        path: the file.
        regular: refuse what is no regular file, such as a pipe, which may never end.

    Raises:
        OSError: the file does not exist, cannot be read, or is no regular file.
        ValueError: as of ``parse_toml``, or the file is larger than ``MOST_BYTES``.
    """
    return parse_toml(_content(path, regular))


def read_table(path: Path) -> dict[str, Any]:
    """Return the table in a file: JSON by its suffix ``.json``, else TOML.

    Raises:
        OSError: as of ``read_json``.
        ValueError: as of ``read_json`` and ``read_toml``, or the JSON is no table.
    """
    if path.suffix != ".json":
        return read_toml(path)
    table = read_json(path)
    if not isinstance(table, dict):
        raise ValueError("it holds no table")
    return table


def convert(value: Any, kind: type[T]) -> T:
    """Return plain values as a dataclass or another type; a number is made only of a number, a text of a text.

    Entries that a dataclass lacks are ignored.

    Raises:
        ValueError: an entry is missing or of another type, or the dataclass refuses it; the message names it.
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        said, _, place = str(error).partition(" - at `$")
        said = said.replace("`", "").replace("Object missing required field ", "lacks ")
        place = place.rstrip("`").lstrip(".")
        raise ValueError(f"{place!r}: {said[:1].lower()}{said[1:]}" if place else said) from None


def content_of(file: IO[bytes]) -> bytes:
    """Return what a file holds.

    Raises:
        ValueError: the file is larger than ``MOST_BYTES``.
    """
    content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError(f"it is larger than {MOST_BYTES // 2**20} MB")
    return content


def _content(path: Path, regular: bool = True) -> bytes:
    # Not blocking: to open a pipe that nobody writes to would take for ever.
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | (os.O_NONBLOCK if regular else 0))
    with open(file, "rb") as stream:
        if regular and not stat.S_ISREG(os.fstat(file).st_mode):
            raise OSError(f"{path} is no regular file")
        return content_of(stream)


def _too_deep() -> ValueError:
    return ValueError(f"it has more than {DEPTH} tables or lists within each other")


def _within_bounds(value: Any, room: int) -> Any:
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"it holds the number {value}, which is not finite")
    elif isinstance(value, int):
        if not -_MOST < value < _MOST:
            raise ValueError(f"it holds a number of {value.bit_length()} bits; 64 are the most")
    elif isinstance(value, dict | list):
        if not room:
            raise _too_deep()
        if isinstance(value, list):
            return [_within_bounds(one, room - 1) for one in value]
        return {printable(key): _within_bounds(one, room - 1) for key, one in value.items()}
    return value
