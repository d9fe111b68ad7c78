"""The settings of ``headless-eval list``."""

from dataclasses import dataclass
from typing import Annotated

from headless_eval.shared.flags import Settings, flag


@dataclass(frozen=True, kw_only=True)
class ListConfig(Settings):
    """List what can be run: policies, suites with their tasks, dtypes, modes."""

    suite: Annotated[str | None, flag("NAME")] = None
    """Show all tasks of this suite."""

    json: bool = False
    """Print JSON."""
