"""Rebuilding of the files that are derived from a run's journal."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from headless_eval.errors import UserError
from headless_eval.report.exports import write_csv, write_rates_json, write_suite_json
from headless_eval.report.page import write_page
from headless_eval.report.plots import write_plots
from headless_eval.report.summary import Summary, summarize
from headless_eval.results import EpisodeRecord, RunDirectory


def summarize_run(run: RunDirectory) -> Summary:
    """Return the summary of a run's episodes so far; nothing is written."""
    return _summarize(run, run.records())


def _summarize(run: RunDirectory, records: Sequence[EpisodeRecord]) -> Summary:
    summary = summarize(run.manifest["suite"], records, run.baseline)
    stopping = run.stopping()
    return replace(summary, stops=stopping.stops) if stopping else summary


def build(run: RunDirectory | str | Path) -> Summary:
    """Rebuild CSV, JSON, plots and page from manifest and journal; the same journal gives the same files.

    Args:
        run: a run or its folder; the run may still be in progress.

    Returns:
        The summary of the episodes so far.

    Raises:
        UserError: the folder holds no run or a damaged run, or the folder cannot be written.
    """
    if not isinstance(run, RunDirectory):
        run = RunDirectory.open(run)
    records = run.records()
    summary = _summarize(run, records)
    try:
        write_csv(run.path / f"{summary.suite}_results.csv", records)
        write_suite_json(run.path / f"{summary.suite}_results.json", records, summary, run.manifest)
        write_rates_json(run.path / "results.json", summary)
        write_plots(run.path, summary)
        write_page(run.path / "report.html", run.manifest, summary, records)
    except OSError as error:
        raise UserError(f"cannot write the results to {run.path}: {error.strerror}") from error
    return summary
