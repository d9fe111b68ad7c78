"""Rebuilding of the files that are derived from a run's journal."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from headless_eval.errors import UserError
from headless_eval.report.curve_plots import write_curves_plot
from headless_eval.report.divergence import divergence_of
from headless_eval.report.divergence_tables import write_divergence_csv
from headless_eval.report.exports import write_csv, write_outcomes_csv, write_rates_json, write_suite_json
from headless_eval.report.failures import count_failures
from headless_eval.report.outcomes import compare_outcomes
from headless_eval.report.page import write_page
from headless_eval.report.page.divergence import along_chart
from headless_eval.report.plots import write_figure, write_plots
from headless_eval.report.psychometric import THRESHOLD, curves_of, write_curves_csv
from headless_eval.report.robustness import is_swept, robustness
from headless_eval.report.robustness_tables import write_perturbations, write_robustness
from headless_eval.report.summary import Summary, summarize
from headless_eval.results import EpisodeRecord, Readable, RunDirectory, holds_run, open_run
from headless_eval.results.levels import is_adaptive


def summarize_run(run: Readable) -> Summary:
    """Return the summary of a run's episodes so far; nothing is written."""
    return _summarize(run, run.records())


def _summarize(run: Readable, records: Sequence[EpisodeRecord], performance: float = THRESHOLD) -> Summary:
    summary = summarize(run.manifest["suite"], records, run.baseline)
    stopping = run.stopping()
    return replace(
        summary,
        origin=run.notes,
        adaptive=is_adaptive(run.manifest),
        swept=is_swept(run.manifest),
        stops=stopping.stops if stopping else {},
        outcomes=compare_outcomes(records, run.manifest, run.baseline),
        curves=curves_of(records, run.manifest, run.baseline, performance),
        failures=count_failures(records),
    )


def build(run: Readable | str | Path, output: Path | None = None, performance: float = THRESHOLD) -> Summary:
    """Rebuild CSV, JSON, plots and page from manifest and journal; the same journal gives the same files.

    Args:
        run: a run, its folder, or a file of another evaluator; the run may still be in progress.
        output: the folder to write to, for a file of another evaluator and for nothing else.
        performance: the success rate that thresholds of graded tasks are of.

    Returns:
        The summary of the episodes so far.

    Raises:
        UserError: the folder holds no run or a damaged run, or the folder cannot be written; or ``output`` is missing,
            holds a run, or is given for a run of its own.
    """
    if isinstance(run, str | Path):
        run = open_run(run)
    folder = _output(run, output)
    records = run.records()
    summary = _summarize(run, records, performance)
    divergence = divergence_of(run, records, summary)
    if divergence:
        summary = replace(summary, divergence=divergence.sentence)
    try:
        write_csv(folder / f"{summary.suite}_results.csv", records)
        write_suite_json(folder / f"{summary.suite}_results.json", records, summary, run.manifest)
        if (sweep := robustness(run.manifest, records, summary.baseline)) is not None:
            write_robustness(folder / "robustness.csv", sweep)
        write_perturbations(folder / "perturbations.csv", run.manifest, records)
        write_rates_json(folder / "results.json", summary)
        write_outcomes_csv(folder / "outcomes.csv", summary)
        if summary.curves:
            write_curves_csv(folder / "psychometric.csv", summary.curves)
            write_curves_plot(folder / "psychometric.png", summary.curves)
        write_plots(folder, summary)
        if divergence:
            write_divergence_csv(folder / "divergence.csv", divergence)
            write_figure(folder / "divergence.png", along_chart(divergence), summary.suite)
        write_page(folder / "report.html", run.manifest, summary, records, divergence, sweep)
    except OSError as error:
        raise UserError(f"cannot write the results to {folder}: {error.strerror}") from error
    return summary


def _output(run: Readable, output: Path | None) -> Path:
    if isinstance(run, RunDirectory):
        if output is not None:
            raise UserError("--output is for other evaluators' files; a run's report lies beside its videos")
        return run.path
    if output is None:
        raise UserError(f"{run.path} is another evaluator's file: say where to write with --output DIR")
    if holds_run(output):
        raise UserError(f"{output} holds a run of its own: choose another folder with --output")
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write to {output}: {error.strerror}; choose another folder") from None
    return output
