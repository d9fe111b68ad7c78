"""Results of the checks of a checkpoint before an evaluation."""

from dataclasses import dataclass

OK, WARNING, FAILED, SKIPPED, UNKNOWN = "ok", "warning", "FAILED", "skipped", "cannot tell"


@dataclass(frozen=True)
class Check:
    """Result of one check: its name, its status, and the finding or the remedy."""

    name: str
    status: str
    text: str
