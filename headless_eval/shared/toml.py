"""TOML and JSON tables to and from frozen dataclasses, with every name and type checked."""

import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from types import NoneType
from typing import Any, TypeVar, get_args, get_type_hints

from headless_eval.errors import UserError
from headless_eval.shared import untrusted

T = TypeVar("T")


def to_toml(table: Mapping[str, Any]) -> str:
    """Return a table as TOML: strings, whole numbers, truth values, lists of these, and tables. None is left out."""
    return "\n".join(_lines(table, "")) + "\n"


def _lines(table: Mapping[str, Any], heading: str) -> list[str]:
    lines = [f"[{heading}]"] if heading else []
    values = {key: value for key, value in table.items() if value is not None}
    # JSON writes such values as TOML does.
    lines += [f"{key} = {json.dumps(value)}" for key, value in values.items() if not isinstance(value, dict)]
    for key, value in values.items():
        if isinstance(value, dict):
            lines += ["", *_lines(value, f"{heading}.{key}" if heading else key)]
    return lines


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file that a user names.

    Raises:
        UserError: the file does not exist or cannot be read.
    """
    try:
        return untrusted.read_toml(path, regular=False)
    except FileNotFoundError:
        raise UserError("there is no such file") from None
    except (OSError, ValueError) as error:
        raise UserError(f"it cannot be read: {error}") from None


def from_table(cls: type[T], table: Any, where: str = "") -> T:
    """Make a dataclass from a table. Its fields may be whole numbers above 0, finite numbers, truth values, strings,
    dataclasses, and tuples of one type; each may be optional.

    Args:
        cls: the dataclass.
        table: its fields by name.
        where: the table's own name and a dot, for messages.

    Raises:
        UserError: a key is unknown or missing, or a value has the wrong type or is not valid.
    """
    if not isinstance(table, Mapping):
        raise UserError(f"{where.rstrip('.')!r} is no table")
    hints = get_type_hints(cls)
    known = {field.name: field for field in fields(cls)}  # type: ignore[arg-type]
    for key in table:
        if key not in known:
            raise UserError(f"unknown key {where + key!r}: known are {', '.join(known)}")
    for field in known.values():
        if field.name not in table and field.default is MISSING:
            raise UserError(f"the key {where + field.name!r} is missing")
    values = {key: _value(hints[key], value, where + key) for key, value in table.items()}
    try:
        return cls(**values)
    except ValueError as error:
        raise UserError(str(error)) from None


def _value(hint: Any, value: Any, where: str) -> Any:
    if is_dataclass(hint):
        return from_table(hint, value, where + ".")  # type: ignore[arg-type]
    if hint is float:
        fits, wanted = type(value) in (int, float) and math.isfinite(value), "a finite number"
        value = float(value) if fits else value
    elif hint is int:
        fits, wanted = type(value) is int and value > 0, "a whole number above 0"
    elif hint is bool:
        fits, wanted = isinstance(value, bool), "true or false"
    elif hint is str:
        fits, wanted = isinstance(value, str), "a string"
    else:
        (kind,) = (option for option in (get_args(hint) or (hint,)) if option not in (NoneType, ...))
        kind = get_args(kind)[0] if get_args(kind) else kind
        fits = isinstance(value, list) and all(type(item) is kind for item in value)
        value, wanted = tuple(value) if fits else value, f"a list of {kind.__name__}"
    if not fits:
        raise UserError(f"{where!r} is {value!r}: it has to be {wanted}")
    return value
