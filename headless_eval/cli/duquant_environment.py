"""The environment variables of DuQuant's openpi fork (``OPENPI_DUQUANT_*``), as settings of a run.

Options that the variables do not set have headless-eval's defaults. docs/quantization_methods.md lists the variables.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from headless_eval.errors import UserError
from headless_eval.quant.methods import UNQUANTIZED
from headless_eval.quant.methods.duquant import DuQuant
from headless_eval.shared.suggest import unknown

PREFIX = "OPENPI_DUQUANT_"
_OFF = ("0", "false", "no", "off")
_ON = ("1", "true", "yes", "on")


@dataclass(frozen=True)
class Request:
    """The settings that the variables ask for.

    Args:
        dtype: DuQuant's name, with bits and options; None if only the folder of packs is set.
        settings: fields of ``RunConfig``.
        debug: print each layer that is quantized.
        words: flags and expressions in messages, with the variables that they stand for.
    """

    dtype: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    debug: bool = False
    words: dict[str, str] = field(default_factory=dict)

    def explain(self, error: UserError) -> UserError:
        """Return the error with flags and expressions replaced by the variables that they stand for."""
        message = str(error)
        for ours, theirs in self.words.items():
            message = message.replace(ours, theirs)
        explained = UserError(message)
        explained.details = error.details
        return explained


def read(environment: Mapping[str, str]) -> Request | None:
    """Return the settings of the variables with the prefix; None if no variable is set. Empty variables are unset.

    Raises:
        UserError: a variable is unknown (the message names the nearest), or its value is not valid.
    """
    given = {
        name.removeprefix(PREFIX): value.strip()
        for name, value in environment.items()
        if name.startswith(PREFIX) and value.strip()
    }
    if not given:
        return None
    for name in given:
        if name not in _VARIABLES:
            raise unknown("environment variable", PREFIX + name, [PREFIX + known for known in _VARIABLES])
    values = {}
    for name, text in given.items():
        try:
            values[name] = _VARIABLES[name](text)
            if name in _OPTIONS:
                DuQuant(**{_OPTIONS[name]: values[name]})
        except (ValueError, UserError) as error:
            raise UserError(f"{PREFIX}{name} is {text!r}: {error}") from None
    settings: dict[str, Any] = {}
    if "PACKDIR" in values:
        settings["packdir"] = values["PACKDIR"]
    words = {flag: PREFIX + name for name, flag in _FLAGS.items() if name in given}
    if set(given) <= {"PACKDIR"}:
        return Request(None, settings, words=words)
    options = {_OPTIONS[name]: value for name, value in values.items() if name in _OPTIONS}
    method = DuQuant(**options)
    settings["dtypes"] = ("float32", method.name)
    if "CALIB_STEPS" in values:
        settings["calibration_steps"] = values["CALIB_STEPS"]
    if include := _include(values.get("SCOPE"), values.get("INCLUDE")):
        settings["include"] = include
        chosen = [f"{PREFIX}{name}={given[name]}" for name in ("SCOPE", "INCLUDE") if name in given]
        words[include] = " ".join(chosen)
    if values.get("EXCLUDE"):
        settings["exclude"] = values["EXCLUDE"]
    if values.get("WBITS"):
        settings["bits"] = values["WBITS"]
        for pair in values["WBITS"]:
            pattern = pair.rpartition("=")[0]
            words[repr(pattern)] = re.sub(r"\\(.)", r"\1", pattern[1:-1])
    if values.get("DRYRUN"):
        settings["dry_run"] = True
    return Request(method.name, settings, bool(values.get("DEBUG")), words)


def _include(prefix: str | None, pattern: str | None) -> str | None:
    """Return the regular expression for names that begin with the prefix and contain the pattern."""
    if not prefix:
        return pattern
    return f"^(?={re.escape(prefix)})" + (f"(?=.*(?:{pattern}))" if pattern else "")


def _on(text: str) -> bool:
    if text.lower() not in (*_OFF, *_ON):
        raise ValueError("it is 1 or 0")
    return text.lower() in _ON


def _bits(text: str) -> int:
    if not text.isdecimal():
        raise ValueError("write 2 to 8, or 0, which leaves values as they are")
    return int(text) or UNQUANTIZED  # 0 turns it off in the fork


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise ValueError("a whole number of 1 or more is needed")
    return int(text)


def _expression(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"it is not a regular expression ({error})") from None
    return text


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError("a number is needed") from None


def _row_rotation(text: str) -> bool:
    if text == "propagate":
        raise ValueError("outputs that stay rotated are no longer those of the model; use restore or 0")
    if text != "restore" and text.lower() not in _OFF:
        raise ValueError("it is restore or 0")
    return text == "restore"


def _layers(text: str) -> tuple[str, ...]:
    pairs = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, colon, bits = part.rpartition(":")
        if not colon or not bits.strip().isdecimal():
            raise ValueError("write LAYER:BITS, with commas between them")
        pairs.append(f"^{re.escape(name.strip())}$=w{_bits(bits.strip())}")
    return tuple(pairs)


_VARIABLES: dict[str, Callable[[str], Any]] = {
    "SCOPE": str,
    "INCLUDE": _expression,
    "EXCLUDE": _expression,
    "WBITS": _layers,
    "WBITS_DEFAULT": _bits,
    "ABITS": _bits,
    "BLOCK": _count,
    "PERMUTE": _on,
    "ROW_ROT": _row_rotation,
    "ACT_PCT": _number,
    "CALIB_STEPS": _count,
    "LS": _number,
    "PACKDIR": Path,
    "DEBUG": _on,
    "DRYRUN": _on,
}
_OPTIONS = {
    "WBITS_DEFAULT": "weight_bits",
    "ABITS": "activation_bits",
    "BLOCK": "block",
    "PERMUTE": "permute",
    "ROW_ROT": "row_rotation",
    "ACT_PCT": "percentile",
    "LS": "smooth",
}
_FLAGS = {
    "INCLUDE": "--include",
    "EXCLUDE": "--exclude",
    "WBITS": "--bits",
    "CALIB_STEPS": "--calibration-steps",
    "PACKDIR": "--packdir",
}
assert set(_OPTIONS.values()) <= {one.name for one in fields(DuQuant)}
