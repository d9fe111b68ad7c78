"""Calls that a user writes: ``module:name``, ``./file.py:name`` or either with keyword arguments in brackets.

Arguments are read, not evaluated. ``shared.places`` imports what is called.
"""

import ast
import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from headless_eval.errors import UserError
from headless_eval.shared.places import is_place

_TEXT = re.compile(r"(?P<place>[^()\s][^()]*?)\s*(?P<arguments>\(.*\))?", re.DOTALL)
_LONGEST = 40  # letters of an argument's value in a name


@dataclass(frozen=True)
class Call:
    """A place, and the arguments that what lies there is called with.

    Args:
        place: as ``shared.places`` takes it.
        arguments: names and values, the values as Python text.
    """

    place: str
    arguments: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, text: str) -> "Call | None":
        """Read ``module:name`` or ``file.py:name``, with or without ``(key=value, ...)``.

        Returns:
            None for a text that is not written so, such as ``int8`` or ``ws://host``.

        Raises:
            UserError: what stands in brackets is not a list of keyword arguments.
        """
        found = _TEXT.fullmatch(text)
        if found is None or not is_place(found["place"]):
            return None
        try:
            node: Any = ast.parse(f"f{found['arguments'] or '()'}", mode="eval").body
        except (SyntaxError, ValueError):
            node = None
        once = isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        if not once or node.args or any(one.arg is None for one in node.keywords):
            raise UserError(f"{text!r}: write arguments as (name=value, other=value)")
        return cls(found["place"], tuple((str(one.arg), ast.unparse(one.value)) for one in node.keywords))

    def __str__(self) -> str:
        arguments = ", ".join(f"{name}={value}" for name, value in self.arguments)
        return f"{self.place}({arguments})" if arguments else self.place

    @property
    def source(self) -> str:
        """The module's name or the file's path."""
        return self.place.rpartition(":")[0]

    @property
    def name(self) -> str:
        """The name in the module or the file."""
        return self.place.rpartition(":")[2]

    def values(self, read: Callable[[ast.expr], Any] = ast.literal_eval) -> dict[str, Any]:
        """Return the arguments' values.

        Args:
            read: makes a value from a parsed expression, and raises ValueError where it takes none.

        Raises:
            UserError: a value is not what ``read`` takes: by default numbers, texts, lists and the like.
        """
        values = {}
        for name, text in self.arguments:
            try:
                values[name] = read(ast.parse(text, mode="eval").body)
            except (ValueError, TypeError, SyntaxError):
                raise UserError(
                    f"{name}={text} of {self.place}: values are numbers, texts in quotes, True, False, None, or lists, "
                    "tuples and dictionaries of these; nothing else is evaluated"
                ) from None
        return values


def clean(name: str, arguments: Mapping[str, Any]) -> str:
    """Return a name for files and tables from a name and arguments, of letters, digits, ``_``, ``.`` and ``-``."""
    words = [name]
    for key, value in arguments.items():
        text = re.sub(r"[^A-Za-z0-9.-]+", "_", str(value)).strip("_")
        if len(text) > _LONGEST:
            text = hashlib.sha256(str(value).encode()).hexdigest()[:8]
        words.append(f"{key}_{text}")
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", "_".join(words))
