"""The command ``report``: rebuilds a run's tables and page from its journal."""

from headless_eval.config.results import ReportConfig
from headless_eval.errors import UserError
from headless_eval.report.build import build
from headless_eval.report.tables import detection_text
from headless_eval.report.terminal import print_results
from headless_eval.report.trackers import find_trackers
from headless_eval.report.trackers.tracking import track_finished
from headless_eval.results import RunDirectory, open_runs
from headless_eval.shared.terminal import new_console


def report(settings: ReportConfig) -> int:
    """Rebuild the files that are derived from a run's journal, and print the summary.

    Returns:
        The exit status, 0.

    Raises:
        UserError: there is no run or a damaged run, the folder cannot be written, or a tracker is unknown or not
            installed.
    """
    find_trackers(settings.track)
    run = open_runs(settings.runs, assume_paired=settings.assume_paired)
    if settings.track and not isinstance(run, RunDirectory):
        raise UserError("--track sends the folder of a run; other evaluators' files have none")
    summary, console = build(run, settings.output, settings.threshold), new_console()
    print_results(console, run, summary)
    if settings.detect is not None:
        print(detection_text(summary, settings.detect), end="\n\n")
    if settings.track and isinstance(run, RunDirectory):
        waiting = new_console(stderr=True).status
        track_finished(settings.track, run, summary, waiting)
    print(settings.output or run.path)
    return 0
