"""Everything derived from a run's journal: statistics, plots, tables."""

from headless_eval.report.build import build, summarize_run
from headless_eval.report.summary import Comparison, Row, Summary, summarize

__all__ = ["Comparison", "Row", "Summary", "build", "summarize", "summarize_run"]
