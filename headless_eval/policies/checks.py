"""What is checked of a checkpoint before it is evaluated, and what came of it."""

from dataclasses import dataclass

OK, WARNING, FAILED, SKIPPED = "ok", "warning", "FAILED", "skipped"


@dataclass(frozen=True)
class Check:
    """One check: its name, what came of it, and what was found or is to be done."""

    name: str
    status: str
    text: str
