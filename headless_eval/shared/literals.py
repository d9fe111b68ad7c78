"""Values in words of a command line: TOML or JSON literals, text otherwise. Nothing is evaluated."""

import json
import tomllib
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from headless_eval.errors import UserError

_PLAIN = (str, int, float, bool, list, dict, type(None))


def read_literal(text: str) -> Any:
    """Return the value of a TOML or JSON literal (``8``, ``1e-3``, ``true``, ``null``, ``[1, 2]``, ``"8"``).

    Args:
        text: the literal; a text that is no literal is its own value.
    """
    with suppress(ValueError, RecursionError):
        table = tomllib.loads(f"value = {text}")
        # A date stays the text that it was written as, and further lines are no literal.
        if table.keys() == {"value"} and isinstance(table["value"], _PLAIN):
            return table["value"]
    with suppress(ValueError, RecursionError):
        return json.loads(text)
    return text


def read_arguments(pairs: Iterable[str], option: str) -> dict[str, Any]:
    """Return the keyword arguments that words such as ``scale=0.5`` give, by name.

    Args:
        pairs: the words.
        option: the flag's name in messages.

    Raises:
        UserError: a word is not NAME=VALUE, or a name occurs twice.
    """
    given: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.isidentifier():
            raise UserError(f"{option} {pair!r}: write NAME=VALUE, such as scale=0.5")
        if name in given:
            raise UserError(f"{option} gives {name!r} twice: leave out one of them")
        given[name] = read_literal(value)
    return given
