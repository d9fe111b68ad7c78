"""Text for people: bytes with units, singular and plural, and what a terminal or a spreadsheet would not just show."""

import re
from contextlib import suppress
from typing import Any

# Control characters but tab and line feed, marks that turn the direction of text, halves of characters, and what is
# no character. XML may hold none of them either.
_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def printable(text: str) -> str:
    """Return a text in which what a terminal would obey instead of show is a visible escape such as ``\\x1b``."""
    return _OBEYED.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def spreadsheet_cell(value: Any) -> Any:
    """Return a value for CSV; a text that a spreadsheet would take for a formula gets an apostrophe before it."""
    if not isinstance(value, str) or not value.startswith(_FORMULA):
        return value
    with suppress(ValueError):
        float(value)
        return value
    return f"'{value}"


def bytes_text(size: float) -> str:
    """Return a number of bytes with its unit: ``12 MB``."""
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def uncapitalized(text: str) -> str:
    """Return a text with a small first letter, to go on with in a sentence."""
    return text[:1].lower() + text[1:]


def plural(number: int, noun: str) -> str:
    """Return a number and its noun: ``1 trial``, ``2 trials``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
