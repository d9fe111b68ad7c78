"""A run's folder as an object for notebooks: records, data frames, report."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console

from headless_eval.errors import UserError
from headless_eval.report import frames
from headless_eval.report.build import build, summarize_run
from headless_eval.report.summary import Summary
from headless_eval.report.tables import rich_table
from headless_eval.results import EpisodeRecord, Readable, open_run
from headless_eval.shared.text import plural

if TYPE_CHECKING:
    from pandas import DataFrame

_WIDTH = 120


def read_run(path: str | Path, *, assume_paired: bool = False) -> Run:
    """Open the folder of a run for reading; the run may still be in progress.

    Args:
        path: its folder; or ``eval_info.json`` of lerobot-eval or a recording of vla-eval, which is one variant.
        assume_paired: in such a file, episodes of the same task and number as in another are the same.

    Raises:
        UserError: the folder holds no run, a damaged run, or a run of a later version of this program.
    """
    return Run(open_run(path, assume_paired=assume_paired))


class Run:
    """A run to read: what ``evaluate`` and ``read_run`` return.

    ``print(run)`` shows the summary; a notebook shows it as a table. The journal is read once, when it is first needed.

    Args:
        directory: the run, open for reading.
    """

    def __init__(self, directory: Readable) -> None:
        self._directory = directory

    @property
    def path(self) -> Path:
        """Return the folder: ``report.html``, CSV, JSON, journal, videos."""
        return self._directory.path

    @property
    def manifest(self) -> Mapping[str, Any]:
        """Return the description of the run: settings, seed, versions, hashes, hardware, status."""
        return self._directory.manifest

    @property
    def suite(self) -> str:
        """Return the suite's name."""
        return str(self.manifest["suite"])

    @property
    def variants(self) -> list[str]:
        """Return the names of the variants, in order."""
        return self._directory.variants

    @property
    def baseline(self) -> str:
        """Return the name of the variant that the others are compared with; it need not have run."""
        return self._directory.baseline

    def records(self) -> list[EpisodeRecord]:
        """Return the last record of each trial, in order of variant, task and episode.

        Raises:
            UserError: the journal is damaged.
        """
        return list(self._records)

    @cached_property
    def _records(self) -> list[EpisodeRecord]:
        return self._directory.records()

    @cached_property
    def episodes(self) -> DataFrame:
        """A row per trial: the journal's fields, ``error_*``, ``setting_*`` and ``metric_*``.

        ``success`` is missing (``pandas.NA``) where an episode was an error, so that
        ``episodes.groupby("configuration").success.mean()`` is the success rate.

        Raises:
            UserError: the journal is damaged.
        """
        return frames.episodes_frame(self._records)

    @cached_property
    def summary(self) -> DataFrame:
        """A row per variant and task, and one per variant with the task ``all``.

        Counts, rates with Wilson's 95 % interval, and the paired difference to the baseline with Newcombe's interval,
        McNemar's p-value, p after Holm's correction, and the smallest drop that the pairs show with 80 % power.

        Raises:
            UserError: the journal is damaged.
        """
        return frames.summary_frame(self._summary)

    @cached_property
    def outcomes(self) -> DataFrame:
        """A row per variant and outcome finer than success, such as ``path_length``, compared with the baseline.

        Means over the same episodes, the change with its 95 % interval (a share of the baseline's mean, or in
        ``change_unit``), Wilcoxon's p-value, p after Holm's correction over all rows, the margin within which the means
        are shown to be equal, and the smallest change that the pairs show with 80 % power.

        Raises:
            UserError: the journal is damaged.
        """
        return frames.outcomes_frame(self._summary)

    @cached_property
    def _summary(self) -> Summary:
        return summarize_run(self._directory)

    def actions(self, episode: EpisodeRecord | Any) -> DataFrame:
        """Return an episode's executed actions: a row per control step, a column per dimension, float32.

        Columns have the names that the suite's robot gives them; units are the robot's.

        Args:
            episode: a label of the index of ``episodes``, a row of it, a record, or (configuration, task, episode)
                with the task's key or number.

        Raises:
            UserError: there is no such episode, or its actions were not kept or are incomplete.
        """
        record = self._find(episode)
        actions = self._directory.actions(record)
        if actions is None:
            what = f"{record.configuration}, {record.task_key}, episode {record.episode}"
            raise UserError(
                f"{self.path} does not hold the actions of {what}: they were not kept, or are cut"
            )
        return frames.actions_frame(actions, self.suite)

    def report(self, output: str | Path | None = None) -> Path:
        """Rebuild tables, plots and page from the journal; return the page.

        Args:
            output: the folder to write to, for a file of another evaluator and for nothing else.

        Raises:
            UserError: the journal is damaged, or the folder cannot be written.
        """
        folder = self.path if output is None else Path(output)
        build(self._directory, None if output is None else folder)
        return folder / "report.html"

    def _find(self, episode: Any) -> EpisodeRecord:
        if isinstance(episode, EpisodeRecord):
            return episode
        if isinstance(episode, int | np.integer):
            if not 0 <= episode < len(self._records):
                raise UserError(
                    f"{self.path} has no episode {episode}: it has {plural(len(self._records), 'episode')}"
                )
            return self._records[episode]
        if isinstance(episode, tuple) and len(episode) == 3:
            name, task, number = episode
        else:  # a row of ``episodes``
            try:
                name, task, number = (episode[column] for column in ("configuration", "task_id", "episode"))
            except (TypeError, KeyError, IndexError):
                raise UserError(
                    f"no episode is meant by {episode!r:.60}: give a row of episodes, its label, a record, or "
                    "(configuration, task, episode)"
                ) from None
        for record in self._records:
            of_task = task in (record.task_id, record.task_key)
            if of_task and record.configuration == name and record.episode == number:
                return record
        raise UserError(f"{self.path} has no episode {number} of {name} on task {task}")

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    def __str__(self) -> str:
        text = StringIO()
        Console(file=text, width=_WIDTH, markup=False).print(rich_table(self._summary))
        return f"{text.getvalue().rstrip()}\n{self.path}"

    def _repr_html_(self) -> str:
        """Return the summary for a notebook."""
        columns = ["configuration", "task", "successes", "episodes", "errors", "rate", "difference", "p_holm"]
        table: str = self.summary[columns].to_html(index=False, float_format="{:.3f}".format, na_rep="–")
        return table
