"""Execution of a run: the episodes that its folder lacks, and what is written when they have ended."""

import logging
import os
import resource
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from rich.console import Console

from headless_eval.contracts.variant import Variant
from headless_eval.errors import UserError
from headless_eval.loop import EpisodeTimeout, TimeSpent, Video
from headless_eval.report import build, summarize_run
from headless_eval.report.summary import Summary
from headless_eval.report.trackers.tracking import Tracking
from headless_eval.results import SUCCESS, EpisodeRecord, RunDirectory
from headless_eval.results.levels import LevelState
from headless_eval.rollout.trials import Trial, make_trials
from headless_eval.rollout.video import VideoWriter
from headless_eval.rollout.watchdog import Watchdog
from headless_eval.runs.divergence.measure import BaselinePath, default_episodes, why_not
from headless_eval.runs.evaluator import Evaluator
from headless_eval.runs.progress import JsonProgress, RunProgress
from headless_eval.runs.resume import remaining_trials

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """How a session of a run ended.

    Args:
        status: the exit status: 0 all episodes ran, 1 some were errors, 130 interrupted.
        summary: of all episodes in the folder, those of earlier sessions included.
        spent: where the time of this session went; None if it was interrupted.
        ended: episodes that ended in this session.
        planned: episodes that the run has.
    """

    status: int
    summary: Summary
    spent: TimeSpent | None
    ended: int
    planned: int


class Execution:
    """Runs the trials that a run's folder lacks, and keeps what comes of them there.

    Args:
        evaluator: with policy and simulator open.
        directory: of the run, open for writing.
        console: where progress is shown.
        guest: whether the process is somebody else's: a call that hangs is then interrupted where that is possible,
            instead of the process being replaced.

    Raises:
        UserError: the run's manifest or journal is damaged.
    """

    def __init__(
        self, evaluator: Evaluator, directory: RunDirectory, console: Console, *, guest: bool = False
    ) -> None:
        self._guest = guest
        self._evaluator, self._directory, self._config = evaluator, directory, evaluator.settings
        config, tasks = self._config, evaluator.tasks
        self._interval = max(1, round(evaluator.simulator.control_hz / config.video_fps))
        self._trials = make_trials(config.variants, tasks, config.episodes, config.seed)
        self._stopping = directory.stopping()
        if self._stopping:
            order = self._stopping.order
            self._trials.sort(key=lambda trial: order(trial.key))
        self._levels = directory.levels()
        self._remaining = remaining_trials(directory, config.retries)
        # What is to be tried again is shown as what is still to come.
        before = [record for record in directory.records() if record.trial not in self._remaining]
        self._shown = {record.trial for record in before}
        self._quantized = dict(directory.manifest.get("quantized") or {})
        self._ended = 0
        self._path, self._not_asked = self._baseline_path(console)
        self._asking: Variant | None = None
        self._tracking = Tracking(config.track, directory, console.status)
        self._progress: RunProgress | JsonProgress
        if config.log_json:
            self._progress = JsonProgress(len(self._trials), before)
        else:
            if directory.records():
                there = sum(trial.key not in self._remaining for trial in self._trials)
                console.print(f"{there} of {len(self._trials)} episodes are there", highlight=False)
            names = [variant.name for variant in config.variants]
            self._progress = RunProgress(console, names, len(tasks) * config.episodes, before)

    def run(self) -> Outcome:
        """Run the trials and complete the folder; an interrupt ends the trials and not the folder's completion.

        Raises:
            UserError: the policy cannot compute at one of the run's precisions, or the folder takes no more.
            KeyboardInterrupt: interrupted again, while what derives from the journal was made.
        """
        config, spent = self._config, None
        with (
            self._progress,
            suppress(KeyboardInterrupt),
            Watchdog(config.episode_timeout, self._on_hang) as watchdog,
        ):
            self._watchdog = watchdog
            for name, stop in self._stopping.stops.items() if self._stopping else ():
                if stop.decision != "continue":
                    self._show_stop(name)
            for state in self._levels.states if self._levels else ():
                if state.reached or state.exhausted:
                    self._show_level(state)
            total = TimeSpent()
            for trials in self._waves():
                total += self._evaluator.run_trials(
                    trials,
                    self._on_episode,
                    open_video=self._open_video,
                    frame_interval=self._interval,
                    retries=config.retries,
                    attempts=self._remaining.attempts,
                    episode_timeout=config.episode_timeout,
                    watch=watchdog.watch,
                    wanted=self._wanted,
                    on_variant=self._ask,
                    on_replan=self._path.keep,
                )
            total.add("divergence", self._ask_others())
            spent = total
        return self._complete(spent)

    def _baseline_path(self, console: Console) -> tuple[BaselinePath, str | None]:
        """Return the baseline's path, and why nothing is asked along it although it should be."""
        evaluator, config = self._evaluator, self._config
        policy, names = evaluator.policy, [variant.name for variant in config.variants]
        episodes = default_episodes(policy) if config.divergence is None else config.divergence
        reason = None
        if config.baseline not in names or len(names) < 2:
            episodes = 0
        elif episodes and (reason := why_not(policy)):
            episodes = 0
            console.print(f"no divergence from {config.baseline}: {reason}", highlight=False, soft_wrap=True)
        path = BaselinePath(
            evaluator.simulator,
            policy,
            self._directory,
            evaluator.tasks,
            evaluator.open_loop_horizon,
            episodes,
            watch=lambda: self._watchdog.watch("divergence", ()),
        )
        before = self._directory.manifest.get("divergence")
        failed = before.get("failed") if isinstance(before, dict) else None
        path.failed.update(failed if isinstance(failed, dict) else {})
        return path, reason

    def _ask(self, variant: Variant) -> None:
        """Ask the policy, which is in a variant, what it would have done on the baseline's path."""
        self._asking = variant
        self._path.measure(variant)

    def _ask_others(self) -> float:
        """Ask the variants whose trials had all ended in an earlier session; return the seconds that it took."""
        began = perf_counter()
        for variant in self._config.variants:
            asked = variant.name in (self._directory.baseline, *self._path.failed)
            if not asked and self._path.missing(variant.name):
                self._evaluator.policy.set_variant(variant)
                self._ask(variant)
        return perf_counter() - began

    def _waves(self) -> Iterator[list[Trial]]:
        """Yield the trials to run, which all end before the next are asked for; with adaptive levels many times."""
        if self._levels is None:
            yield [trial for trial in self._trials if trial.key in self._remaining and self._wanted(trial)]
            return
        trials = {trial.key: trial for trial in self._trials}
        for variant in self._config.variants:
            while block := self._levels.next(variant.name):
                # What an interrupted session has of the block is there already.
                keys = [(variant.name, *one) for one in block]
                yield [trials[key] for key in keys if key not in self._shown]
                if self._levels.next(variant.name) == block:
                    break  # the policy cannot be put into the variant, and attempts are left for another session

    def _wanted(self, trial: Trial) -> bool:
        return self._stopping is None or self._stopping.wanted(trial.key)

    def _on_episode(self, record: EpisodeRecord, actions: np.ndarray) -> None:
        self._directory.append(record, actions)
        self._path.ended(record, actions)
        self._ended += 1
        self._quantized[record.configuration] = self._evaluator.policy.describe_precision()
        if self._stopping is None or self._stopping.wanted(record.trial):
            self._shown.add(record.trial)
            self._progress.update(record)
            self._tracking.update(record)
        for name in self._stopping.add(record) if self._stopping else ():
            self._show_stop(name)
        for state in self._levels.add(record) if self._levels else ():
            self._show_level(state)

    def _show_level(self, state: LevelState) -> None:
        """Show what is known of a threshold, once nothing more of it runs."""
        tasks = {
            entry["id"]
            for entry in self._directory.manifest["tasks"]
            if entry["difficulty"]["family"] == state.family
        }
        left_out = sum(
            trial.variant.name == state.configuration
            and trial.task.id in tasks
            and trial.key not in self._shown
            for trial in self._trials
        )
        self._progress.stop(state.configuration, state.sentence, left_out)

    def _show_stop(self, name: str) -> None:
        if self._stopping:
            left_out = sum(
                trial.variant.name == name and trial.key not in self._shown for trial in self._trials
            )
            self._progress.stop(name, self._stopping.stops[name].sentence, left_out)

    def _open_video(self, trial: Trial) -> Video | None:
        if self._config.videos == "none":
            return None
        fps = self._evaluator.simulator.control_hz / self._interval
        return _EpisodeVideo(self._directory, trial, fps, self._config.videos)

    def _on_hang(self, activity: str, episodes: Sequence[Any], stack: str) -> None:
        """Record the episodes of a hanging call as errors, and continue in a fresh process.

        As a guest, only interrupt the call, whose episodes then become errors as after any other exception.
        """
        message = f"{activity} did not return within {self._config.episode_timeout:g} s"
        if self._guest:
            _log.error("%s: interrupting it. It hangs here:\n%s", message, stack)
            self._watchdog.interrupt(EpisodeTimeout)
            return
        error = {"type": EpisodeTimeout.__name__, "message": message, "traceback": stack}
        try:
            for episode in episodes:
                self._directory.append(episode.record(error), episode.taken)
            if not episodes and self._asking is not None:
                self._path.fail(self._asking.name, message)
                self._directory.update_manifest(divergence=self._describe_path())
        except UserError as fault:  # the main thread hangs, so this one has to tell the user
            print(f"headless-eval: error: {message}, and {fault}", file=sys.stderr, flush=True)
            os._exit(2)
        self._directory.close()
        print(f"headless-eval: {message}; going on in a fresh process", file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
        arguments = ["-m", "headless_eval", "run", "--resume", str(self._directory.path)]
        arguments += ["--quiet"] * self._config.quiet + ["--log-json"] * self._config.log_json
        # What is written elsewhere or sent is not taken from a manifest.
        arguments += ["--track", *self._config.track] if self._config.track else []
        arguments += ["--packdir", str(self._config.packdir)] if self._config.packdir else []
        os.execv(sys.executable, [sys.executable, *arguments])

    def _complete(self, spent: TimeSpent | None) -> Outcome:
        """Write the manifest's last entries, and what derives from the journal."""
        directory = self._directory
        summary = summarize_run(directory)
        status = 130 if spent is None else 1 if summary.errors else 0
        peak = max(_peak_memory(), directory.manifest.get("peak_memory_bytes", 0))
        entries: dict[str, Any] = {
            "quantized": self._quantized,
            "peak_memory_bytes": peak,
            "batch": self._evaluator.policy.batch,
        }
        if found := self._describe_path():
            entries["divergence"] = found
        if self._stopping:
            decisions = {name: asdict(stop) for name, stop in summary.stops.items()}
            entries["sequential"] = {"alpha": self._stopping.alpha, "configurations": decisions}
        if self._levels:
            entries["levels"] = [asdict(state) for state in self._levels.states]
        if spent and self._ended:
            entries["time"] = _time(spent, self._ended, directory.manifest.get("time"))
        directory.update_manifest(**entries)
        directory.finish(status, "interrupted" if spent is None else "finished")
        try:
            summary = build(directory)  # last, for the page shows the manifest
        except UserError:
            with suppress(UserError):
                directory.finish(2, "failed")
            raise
        self._tracking.finish(directory, summary)
        return Outcome(status, summary, spent, self._ended, len(self._trials))

    def _describe_path(self) -> dict[str, Any]:
        """Return what the manifest says of the divergence, if something was left out."""
        return self._path.describe() | ({"left_out": self._not_asked} if self._not_asked else {})


class _EpisodeVideo:
    """The video of a trial in the run's folder; kept or not as the run's settings say."""

    def __init__(self, directory: RunDirectory, trial: Trial, fps: float, keep: str) -> None:
        self._directory, self._keep = directory, keep
        task, name = trial.task, trial.variant.name
        place = directory.video_place(name, task.key, trial.seed.episode)
        caption = f"{task.key} · {task.instruction} · episode {trial.seed.episode}"
        self._writer = VideoWriter(*place, fps, task=caption, variant=name)
        self.add = self._writer.add
        self.discard = self._writer.discard

    def finish(self, status: str, reason: str | None) -> str | None:
        if self._keep == "failures" and status == SUCCESS:
            self._writer.discard()
            return None
        path: Path | None = self._writer.close(status, reason)
        return None if path is None else self._directory.relative(path)


def _time(spent: TimeSpent, episodes: int, before: Any = None) -> dict[str, float]:
    """Return where the time went, for the manifest: seconds, and episodes a minute; sessions add up."""
    earlier = before if isinstance(before, dict) else {}
    seconds = {f"{name}_s": value for name, value in asdict(spent).items()} | {"total_s": spent.total}
    time = {name: value + earlier.get(name, 0.0) for name, value in seconds.items()}
    # An earlier session that was killed left neither its time nor its number of episodes.
    number = episodes + earlier.get("episodes", 0)
    return time | {"episodes": number, "episodes_per_minute": 60 * number / time["total_s"]}


def _peak_memory() -> int:
    """Return the most memory that this process held, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
