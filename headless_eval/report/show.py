"""The command ``report``: rebuilds a run's tables and page from its journal."""

from headless_eval.config.results import ReportConfig
from headless_eval.report.build import build
from headless_eval.report.tables import detection_text, rich_table
from headless_eval.shared.terminal import new_console


def report(settings: ReportConfig) -> int:
    """Rebuild the files that are derived from a run's journal, and print the summary.

    Returns:
        The exit status, 0.

    Raises:
        UserError: the folder holds no run or a damaged run, or the folder cannot be written.
    """
    summary = build(settings.directory)
    new_console().print(rich_table(summary))
    if settings.detect is not None:
        print(detection_text(summary, settings.detect), end="\n\n")
    print(settings.directory)
    return 0
