"""A statement of a certificate, and what its check found."""

from dataclasses import dataclass

from headless_eval.shared.text import printable

HOLDS, CONSISTENT, DIFFERS, UNCHECKED, FAILS = (
    "holds",
    "consistent",
    "differs",
    "not checked",
    "DOES NOT HOLD",
)
"""It holds to the last bit; chance alone would give such a difference; another circumstance here, which refutes
nothing; it was not looked at; and it is refuted."""


@dataclass(frozen=True)
class Statement:
    """What the check of one statement found.

    Args:
        result: ``HOLDS``, ``CONSISTENT``, ``DIFFERS``, ``UNCHECKED`` or ``FAILS``.
        subject: what the statement is of, such as ``"weights"``.
        text: the finding, in a sentence without its full stop.
        details: more lines.
    """

    result: str
    subject: str
    text: str
    details: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [f"{self.result:<14} {self.subject}: {self.text}", *(f"{'':15}{one}" for one in self.details)]
        return "\n".join(map(printable, lines))
