"""Run folders: journal, executed actions and manifest. Only this room writes them; it also reads others' results.

All other files of a run are derived from ``journal.jsonl`` and ``manifest.json`` and can be rebuilt.
"""

from headless_eval.results.directory import RunDirectory, default_folder, holds_run
from headless_eval.results.reading import Readable, open_run, open_runs
from headless_eval.results.record import ERROR, FAILURE, SUCCESS, EpisodeRecord, describe_error

__all__ = [
    "ERROR",
    "FAILURE",
    "SUCCESS",
    "EpisodeRecord",
    "Readable",
    "RunDirectory",
    "default_folder",
    "describe_error",
    "holds_run",
    "open_run",
    "open_runs",
]
