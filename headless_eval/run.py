"""A run from its settings to its results: simulator, policy, loop and folder put together."""

import resource
import sys
from contextlib import ExitStack, closing, suppress
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import Any

from rich.console import Console

from headless_eval.config import RunConfig
from headless_eval.errors import UserError
from headless_eval.local_policy import LocalPolicy, load_policy
from headless_eval.loop import TimeSpent, Trial, Video, make_trials, run_trials
from headless_eval.manifest import build_manifest
from headless_eval.precision import Precision
from headless_eval.progress import RunProgress, duration
from headless_eval.report import build
from headless_eval.report.tables import detection_text, rich_table
from headless_eval.results import SUCCESS, EpisodeRecord, RunDirectory
from headless_eval.seeding import TrialSeed
from headless_eval.sims.registry import find_suite, find_tasks
from headless_eval.sims.simulator import Simulator, Task
from headless_eval.video import VideoWriter, find_ffmpeg


def run(config: RunConfig) -> int:
    """Evaluate a policy, show how it gets on, and leave a folder of results.

    Returns:
        The exit status: 0 all episodes ran, 1 some were errors, 130 interrupted.

    Raises:
        UserError: if the run cannot start; nothing is written then.
    """
    console = Console(quiet=config.quiet)
    suite = find_suite(config.suite)
    tasks = find_tasks(suite.load_tasks(), config.tasks)
    if config.videos != "none":
        find_ffmpeg()
    slots = min(config.slots, len(tasks) * config.episodes)
    with ExitStack() as stack:
        with console.status(f"Loading {config.policy}"):
            began = perf_counter()
            policy = stack.enter_context(_load(config))
            loaded = perf_counter()
            # Pictures of the size that the policy reads: rendering larger ones would only cost time.
            simulator = stack.enter_context(
                closing(suite.make(config.sim, num_slots=slots, image_size=policy.image_size))
            )
            _rehearse(config, simulator, policy, tasks[0])
        console.print(
            f"{policy.name} on {policy.device}: loaded in {loaded - began:.1f} s, "
            f"warmed up in {perf_counter() - loaded:.1f} s",
            highlight=False,
        )
        with RunDirectory.create(config.results, _manifest(config, simulator, tasks, policy)) as directory:
            return _evaluate(config, simulator, tasks, policy, directory, console)


def report(folder: Path, detect: float | None = None) -> int:
    """Rebuild what derives from a run's journal, and print the summary.

    Args:
        folder: of the run.
        detect: also say how many episodes would show this drop of the success rate.

    Raises:
        UserError: if the folder holds no run, a damaged one, or cannot be written; if there can be no such drop.
    """
    if detect is not None and not 0 < detect <= 1:
        raise UserError(f"--detect is {detect:g}; it must be above 0 and at most 1 (0.05 for 5 points)")
    summary = build(folder)
    Console().print(rich_table(summary))
    if detect is not None:
        print(detection_text(summary, detect), end="\n\n")
    print(folder)
    return 0


def _load(config: RunConfig) -> LocalPolicy:
    return load_policy(
        config.policy,
        checkpoint=config.checkpoint,
        config=config.config,
        config_file=config.config_file,
        tokenizer=config.tokenizer,
        device=config.device,
        flow_steps=config.flow_steps,
    )


def _rehearse(config: RunConfig, simulator: Simulator, policy: LocalPolicy, task: Task) -> None:
    """Warm up on a real observation, and try whatever could keep every episode from running.

    Raises:
        UserError: if something does.
    """
    simulator.reset(0, task, TrialSeed(config.seed, task.id, 0))
    (observation,) = simulator.observe([0])
    try:
        policy.warmup(observation)
        actions = policy.infer(observation)["actions"]
        policy.set_precision(config.precisions[-1])
        policy.infer(observation)
        policy.set_precision(Precision())
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"the policy {policy.name} cannot act on what the suite {config.suite} shows it "
            f"({type(error).__name__}: {error})"
        ) from error
    if len(actions) < _horizon(config, policy):
        raise UserError(
            f"--open-loop-horizon is {_horizon(config, policy)}, but the policy {policy.name} gives "
            f"{len(actions)} actions at a time; it can be no more"
        )
    if fault := simulator.step({0: actions[0]})[0].fault:
        raise UserError(
            f"the suite {config.suite} cannot execute the actions of the policy {policy.name} ({fault})"
        ) from fault


def _manifest(
    config: RunConfig, simulator: Simulator, tasks: tuple[Task, ...], policy: LocalPolicy
) -> dict[str, Any]:
    settings = {
        name: str(value) if isinstance(value, Path) else value for name, value in asdict(config).items()
    }
    settings["open_loop_horizon"] = _horizon(config, policy)
    facts = simulator.describe()
    return build_manifest(
        suite=config.suite,
        tasks=tasks,
        configurations=config.precisions,
        episodes=config.episodes,
        seed=config.seed,
        settings=settings,
        policy=policy.describe(),
        simulator=facts,
        gl_renderer=facts.get("gl_renderer"),
    )


def _evaluate(
    config: RunConfig,
    simulator: Simulator,
    tasks: tuple[Task, ...],
    policy: LocalPolicy,
    directory: RunDirectory,
    console: Console,
) -> int:
    precisions = config.precisions
    interval = max(1, round(simulator.control_hz / config.video_fps))
    trials = make_trials(precisions, tasks, config.episodes, config.seed)
    names = [precision.name for precision in precisions]
    spent, quantized = None, {}
    with RunProgress(console, names, len(tasks) * config.episodes) as progress:

        def on_episode(record: EpisodeRecord) -> None:
            directory.append(record)
            quantized[record.configuration] = policy.describe_precision()
            progress.update(record)

        def open_video(trial: Trial) -> Video | None:
            fps = simulator.control_hz / interval
            return None if config.videos == "none" else _EpisodeVideo(directory, trial, fps, config.videos)

        with suppress(KeyboardInterrupt):
            spent = run_trials(
                simulator,
                policy,
                trials,
                on_episode=on_episode,
                open_loop_horizon=_horizon(config, policy),
                open_video=open_video,
                frame_interval=interval,
            )
    summary = build(directory)
    done = summary.episodes + summary.errors
    status = 130 if spent is None else 1 if summary.errors else 0
    directory.update_manifest(quantized=quantized, peak_memory_bytes=_peak_memory())
    if spent:
        directory.update_manifest(time=_time(spent, done))
    directory.finish(status, "interrupted" if spent is None else "finished")
    console.print(rich_table(summary))
    if spent:
        console.print(_breakdown(spent, done), highlight=False, soft_wrap=True)
    else:
        print(f"headless-eval: interrupted: {done} of {len(trials)} episodes are kept", file=sys.stderr)
    print(directory.path)
    return status


class _EpisodeVideo:
    """The video of a trial in the run's folder; kept or not as the run's settings say."""

    def __init__(self, directory: RunDirectory, trial: Trial, fps: float, keep: str) -> None:
        self._directory, self._keep = directory, keep
        task, name = trial.task, trial.precision.name
        stem = directory.video_stem(name, task.key, trial.seed.episode)
        caption = f"{task.key} · {task.instruction} · episode {trial.seed.episode}"
        self._writer = VideoWriter(stem, fps, task=caption, precision=name)
        self.add = self._writer.add
        self.discard = self._writer.discard

    def finish(self, status: str) -> str | None:
        if self._keep == "failures" and status == SUCCESS:
            self._writer.discard()
            return None
        path = self._writer.close(status)
        return None if path is None else self._directory.relative(path)


def _horizon(config: RunConfig, policy: LocalPolicy) -> int:
    return config.open_loop_horizon or policy.open_loop_horizon


def _time(spent: TimeSpent, episodes: int) -> dict[str, float]:
    """Return where the time went, for the manifest: seconds, and episodes a minute."""
    return {f"{name}_s": seconds for name, seconds in asdict(spent).items()} | {
        "total_s": spent.total,
        "episodes_per_minute": 60 * episodes / spent.total,
    }


def _breakdown(spent: TimeSpent, episodes: int) -> str:
    """Return the same for people."""
    shares = ", ".join(f"{name} {seconds / spent.total:.1%}" for name, seconds in asdict(spent).items())
    return f"{duration(spent.total)} for {episodes} episodes, {60 * episodes / spent.total:.1f} a minute: {shares}"


def _peak_memory() -> int:
    """Return the most memory that this process held, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
