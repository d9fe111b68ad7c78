"""The table of checks that ``doctor`` and ``check-plugin`` print."""

from collections.abc import Sequence

from rich.text import Text

from headless_eval.policies.checks import FAILED, OK, SKIPPED, UNKNOWN, WARNING, Check
from headless_eval.shared.terminal import Listing

STYLES = {OK: "green", WARNING: "yellow", FAILED: "bold red", SKIPPED: "dim", UNKNOWN: "dim"}
"""How results are written, by their status."""


def check_table(checks: Sequence[Check], noun: str = "check") -> Listing:
    """Return a table of results.

    Args:
        checks: a row each.
        noun: what a row is, the heading of the first column.
    """
    rows: list[list[str | Text]] = [
        [one.name, Text(one.status, STYLES[one.status]), one.text] for one in checks
    ]
    return Listing((noun, "result", "finding"), rows, 3)
