"""Resuming of an interrupted run, with the same settings, code and weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from headless_eval.config.run import RunConfig
from headless_eval.config.stored import run_settings, to_table
from headless_eval.errors import UserError
from headless_eval.policies.registry import find_claimant, find_policy
from headless_eval.results import ERROR, RunDirectory
from headless_eval.results.differences import differences
from headless_eval.rollout.trials import make_trials
from headless_eval.runs.tasks import tasks_of

MATRIX = "matrix.json"
"""The list of the runs of a matrix, in its folder."""


def is_matrix(folder: Path) -> bool:
    """Return whether a folder is a matrix's, which is resumed as a whole."""
    return (folder / MATRIX).is_file()


def settings_of(folder: Path) -> RunConfig:
    """Return a run's settings from its manifest.

    Raises:
        UserError: the folder holds no run, or its settings are damaged.
    """
    return config_from(RunDirectory.open(folder).manifest, folder)


def config_from(manifest: Mapping[str, Any], folder: Path) -> RunConfig:
    """Return the settings that a manifest states; those that it does not know have their defaults.

    Args:
        manifest: of a run.
        folder: of the run, for messages.

    Raises:
        UserError: the manifest states no settings, or damaged ones.
    """
    kept = manifest.get("settings")
    try:
        if not isinstance(kept, dict):
            raise UserError("it states no settings")
        return run_settings(kept)
    except UserError as error:
        raise UserError(f"{folder / 'manifest.json'} is damaged: {error}") from None


def check_unchanged(run: RunDirectory, now: Mapping[str, Any], *, force: bool) -> None:
    """Compare a run's manifest with what would continue it, and enter the continuation.

    Args:
        run: open for writing.
        now: the manifest that a new run would have.
        force: continue in spite of differences; the manifest records them and the present values.

    Raises:
        UserError: results could depend on what differs, and it is not forced.
    """
    changed = [one for one in differences(run.manifest, now) if one.binding]
    if changed and not force:
        raise UserError(
            f"{run.path} cannot be continued as it was begun: {'; '.join(map(str, changed))}. Start a new run, or "
            "go on all the same with --force"
        )
    entry = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": now.get("command"),
        "hardware": now.get("hardware"),
        "differences": [str(one) for one in changed],
    }
    kept = run.manifest.get("resumed")
    entries: dict[str, Any] = {"settings": {**run.manifest["settings"], **now["settings"]}}
    if changed:
        entries |= {
            name: value for name, value in now.items() if name not in ("command", "started_at", "hardware")
        }
    resumed = [*(kept if isinstance(kept, list) else []), entry]
    entries |= {"resumed": resumed, "status": "running", "exit_status": None, "finished_at": None}
    run.update_manifest(**entries)


@dataclass(frozen=True)
class RemainingTrials:
    """The trials that are still to run: those without a record, and errors with attempts left; asked by ``in``.

    Args:
        attempts: how often each trial was attempted.
        again: errors that are to be tried again.
    """

    attempts: Mapping[tuple[str, int, int], int]
    again: frozenset[tuple[str, int, int]]

    def __contains__(self, trial: tuple[str, int, int]) -> bool:
        return trial not in self.attempts or trial in self.again


def remaining_trials(run: RunDirectory, retries: int) -> RemainingTrials:
    """Return which trials of a run are still to run, if each error is tried again up to ``retries`` times."""
    attempts = run.attempts()
    broken = [record.trial for record in run.records() if record.status == ERROR]
    return RemainingTrials(attempts, frozenset(trial for trial in broken if attempts[trial] <= retries))


def whole_run(config: RunConfig) -> RunDirectory | None:
    """Return the run that settings continue if all its episodes are there and it is finished.

    Neither policy nor simulator is opened to tell.

    Returns:
        None if episodes are still to run, or settings that results depend on have changed.

    Raises:
        UserError: the folder holds no run, or a damaged one, or there is no such policy.
    """
    if config.resume is None:
        return None
    run = RunDirectory.open(config.resume)
    settings = {"settings": to_table(config), "suite": run.manifest.get("suite")}
    if run.manifest.get("status") != "finished":
        return None
    if find_claimant(config.policy) is None and config.checkpoint is None:
        find_policy(config.policy)
    if differences({"settings": run.manifest.get("settings"), "suite": settings["suite"]}, settings):
        return None
    tasks = tasks_of(config)
    if (levels := run.levels()) is not None:
        return run if levels.done else None
    remaining, stopping = remaining_trials(run, config.retries), run.stopping()
    for trial in make_trials(config.variants, tasks, config.episodes, config.seed):
        if trial.key in remaining and (stopping is None or stopping.wanted(trial.key)):
            return None
    return run
