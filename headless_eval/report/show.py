"""The command ``report``: rebuilds a run's tables and page from its journal."""

from headless_eval.config.results import ReportConfig
from headless_eval.report.build import build
from headless_eval.report.tables import detection_text, rich_table
from headless_eval.report.trackers import find_trackers
from headless_eval.report.trackers.tracking import track_finished
from headless_eval.results import RunDirectory
from headless_eval.shared.terminal import new_console


def report(settings: ReportConfig) -> int:
    """Rebuild the files that are derived from a run's journal, and print the summary.

    Returns:
        The exit status, 0.

    Raises:
        UserError: the folder holds no run or a damaged run, the folder cannot be written, or a tracker is unknown or
            not installed.
    """
    find_trackers(settings.track)
    summary, console = build(settings.directory), new_console()
    console.print(rich_table(summary))
    if settings.detect is not None:
        print(detection_text(summary, settings.detect), end="\n\n")
    if settings.track:
        waiting = new_console(stderr=True).status
        track_finished(settings.track, RunDirectory.open(settings.directory), summary, waiting)
    print(settings.directory)
    return 0
