"""The command ``report``: a run's tables and page, made anew from its journal."""

from pathlib import Path

from headless_eval.errors import UserError
from headless_eval.report.build import build
from headless_eval.report.tables import detection_text, rich_table
from headless_eval.shared.terminal import new_console


def report(folder: Path, detect: float | None = None) -> int:
    """Rebuild what derives from a run's journal, and print the summary.

    Args:
        folder: of the run.
        detect: also say how many episodes would show this drop of the success rate.

    Returns:
        The exit status, 0.

    Raises:
        UserError: the folder holds no run or a damaged one, or cannot be written; the drop is out of range.
    """
    if detect is not None and not 0 < detect <= 1:
        raise UserError(f"--detect is {detect:g}; it must be above 0 and at most 1 (0.05 for 5 points)")
    summary = build(folder)
    new_console().print(rich_table(summary))
    if detect is not None:
        print(detection_text(summary, detect), end="\n\n")
    print(folder)
    return 0
