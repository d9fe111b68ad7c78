"""The folder of a run: the only part of the program that writes there.

``journal.jsonl`` is the truth; everything but it and ``manifest.json`` is derived and can be rebuilt.
"""

from headless_eval.results.directory import RunDirectory
from headless_eval.results.record import ERROR, FAILURE, SUCCESS, EpisodeRecord, describe_error

__all__ = ["ERROR", "FAILURE", "SUCCESS", "EpisodeRecord", "RunDirectory", "describe_error"]
