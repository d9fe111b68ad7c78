"""What ``run`` and ``report`` print of a run's results, the most important first."""

from rich.console import Console

from headless_eval.report.failures import failure_table
from headless_eval.report.outcome_tables import outcome_table
from headless_eval.report.psychometric import curve_lines
from headless_eval.report.robustness import robustness
from headless_eval.report.robustness_tables import robustness_listing
from headless_eval.report.summary import Summary
from headless_eval.report.tables import rich_table
from headless_eval.results import Readable


def print_results(console: Console, run: Readable, summary: Summary) -> None:
    """Print success; thresholds of graded tasks; what a sweep shows; how episodes fail; outcomes finer than success.

    Parts that the run has nothing for are left out. A quiet console prints nothing, and nothing is computed then.

    Args:
        console: where to print.
        run: the run.
        summary: of its episodes.
    """
    if console.quiet:
        return
    console.print(rich_table(summary))
    for line in curve_lines(summary.curves, summary.baseline):
        console.print(line, highlight=False, soft_wrap=True)
    sweep = robustness(run.manifest, run.records(), summary.baseline)
    tables = (
        None if sweep is None else robustness_listing(sweep),
        failure_table(summary.suite, summary.failures),
        outcome_table(summary),
    )
    for table in tables:
        if table is not None:
            console.print(table)
