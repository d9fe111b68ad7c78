"""Margins of outcomes as users write them: ``time_to_success=10%``, ``path_length=0.5rad``, ``final_error=1mm``."""

import re
from dataclasses import dataclass

from headless_eval.errors import UserError

_AMOUNT = r"(\d+\.?\d*|\.\d+)\s*(%|[^\s\d.%=]*)"
_FORM = re.compile(rf"([A-Za-z_][A-Za-z0-9_]*)={_AMOUNT}")
_WIDTH = re.compile(rf"(?:([A-Za-z_][A-Za-z0-9_]*)=)?{_AMOUNT}")


@dataclass(frozen=True)
class Margin:
    """The change of an outcome's mean in the worse direction that is allowed.

    Args:
        name: of the outcome; what its unit adds (``final_error`` for ``final_error_mm``) may be left out.
        size: the change, not below 0: in percent of the baseline's mean if ``unit`` is ``%``, else in the unit.
        unit: ``%``, the outcome's unit, or empty for that unit.
    """

    name: str
    size: float
    unit: str

    def __str__(self) -> str:
        space = "" if self.unit in ("", "%") else " "
        return f"{self.size:g}{space}{self.unit}"


def parse_margin(option: str, text: str) -> Margin:
    """Return what ``OUTCOME=MARGIN`` says.

    Args:
        option: the flag, for messages.
        text: its value.

    Raises:
        UserError: the text has another form.
    """
    found = _FORM.fullmatch(text.strip())
    if found is None:
        raise UserError(
            f"{option} {text!r}: write OUTCOME=MARGIN with a number and its unit, such as time_to_success=10% or "
            "final_error=1mm"
        )
    name, size, unit = found.groups()
    return Margin(name, float(size), unit)


def parse_width(option: str, text: str) -> Margin:
    """Return what ``[FAMILY=]WIDTH`` says; the name is empty where none is given.

    Args:
        option: the flag, for messages.
        text: its value.

    Raises:
        UserError: the text has another form, or the width is 0.
    """
    found = _WIDTH.fullmatch(text.strip())
    if found is None or not float(found[2]):
        raise UserError(
            f"{option} {text!r}: write WIDTH or FAMILY=WIDTH, above 0, such as 0.5mm, 30% or insert=0.5mm"
        )
    return Margin(found[1] or "", float(found[2]), found[3])
