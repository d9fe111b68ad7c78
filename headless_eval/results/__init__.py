"""Run folders: journal, executed actions and manifest. Only this room writes them.

All other files of a run are derived from ``journal.jsonl`` and ``manifest.json`` and can be rebuilt.
"""

from headless_eval.results.directory import RunDirectory
from headless_eval.results.record import ERROR, FAILURE, SUCCESS, EpisodeRecord, describe_error

__all__ = ["ERROR", "FAILURE", "SUCCESS", "EpisodeRecord", "RunDirectory", "describe_error"]
