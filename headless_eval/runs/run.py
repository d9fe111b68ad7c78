"""A run from its settings to its results: simulator, policy, loop and folder put together."""

import os
import resource
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from rich.console import Console
from rich.text import Text

from headless_eval.config.run import RunConfig
from headless_eval.contracts.seeding import TrialSeed
from headless_eval.contracts.simulator import Simulator, Task
from headless_eval.errors import UserError
from headless_eval.local_policy import LocalPolicy, list_policies, load_policy
from headless_eval.loop import EpisodeTimeout, TimeSpent, Trial, Video, make_trials, run_trials
from headless_eval.policies.registry import find_policy, trained_policies
from headless_eval.policies.trained_on import read_trained_on
from headless_eval.quant.packs import check_packdir
from headless_eval.quant.precision import Precision
from headless_eval.report import build, summarize_run
from headless_eval.report.tables import detection_text, rich_table
from headless_eval.results import SUCCESS, EpisodeRecord, RunDirectory
from headless_eval.results.manifest import build_manifest
from headless_eval.rollout.video import VideoWriter, find_ffmpeg
from headless_eval.rollout.watchdog import Watchdog
from headless_eval.runs import calibrate
from headless_eval.runs.progress import JsonProgress, RunProgress, duration, print_event
from headless_eval.runs.resume import check_unchanged, left_of
from headless_eval.shared.program import command
from headless_eval.shared.terminal import new_console
from headless_eval.sims.registry import Suite, find_suite, find_tasks

_EXAMPLES = {"droid": "pi05_droid_jointpos_polaris", "libero": "pi05_libero"}


def run(config: RunConfig) -> int:
    """Evaluate a policy, show how it gets on, and leave a folder of results; or go on with such a run.

    Returns:
        The exit status: 0 all episodes ran, 1 some were errors, 130 interrupted.

    Raises:
        UserError: if the run cannot start; nothing is written then.
    """
    console = new_console(quiet=config.quiet or config.log_json)
    if config.resume is None:
        RunDirectory.check(config.results)
    elif config.results is not None and config.results.resolve() != config.resume.resolve():
        raise UserError(
            "--results and --resume name two folders: a run goes on in its own; leave --results out"
        )
    if config.packdir is not None:
        check_packdir(config.packdir)
    suite = find_suite(config.suite)
    tasks = find_tasks(suite.load_tasks(), config.tasks)
    if config.videos != "none":
        find_ffmpeg()
    settings = suite.settings_of(config)
    slots = min(config.slots, len(tasks) * config.episodes)
    with ExitStack() as stack:
        stack.enter_context(_terminated_as_interrupted())
        directory = None
        if config.resume is not None:
            directory = stack.enter_context(RunDirectory.open(config.resume, write=True))
        with console.status(Text(f"Loading {config.policy}")) as status:
            began = perf_counter()
            policy = stack.enter_context(load(config))
            policy.packdir = config.packdir
            loaded = perf_counter()
            if config.dry_run:
                return print_plan(policy, config.precisions)
            check_robot(suite, policy)
            # Pictures of the size that the policy reads: rendering larger ones would only cost time.
            simulator = stack.enter_context(
                closing(suite.make(config.sim, num_slots=slots, image_size=policy.image_size, **settings))
            )
            if config.needs_calibration and policy.module is not None:
                policy.calibration = calibrate.calibration_for(
                    config, simulator, policy, tasks, directory.path if directory else None, console, status
                )
            calibrated = perf_counter()
            _rehearse(config, simulator, policy, tasks[0])
        console.print(
            f"{policy.name} on {policy.device}: loaded in {loaded - began:.1f} s, "
            f"warmed up in {perf_counter() - calibrated:.1f} s",
            highlight=False,
        )
        trained_on = read_trained_on(find_policy(config.policy, config.checkpoint)[0])
        if trained_on and (warning := trained_on.warning(policy.name, suite.name, tasks)):
            console.print(warning, highlight=False, soft_wrap=True)
        manifest = describe(config, simulator, tasks, policy)
        if directory is None:
            directory = stack.enter_context(RunDirectory.create(config.results, manifest))
        else:
            check_unchanged(directory, manifest, force=config.force)
            directory.clean()
        if policy.calibration is not None and not (directory.path / calibrate.FILE).exists():
            policy.calibration.save(directory.path / calibrate.FILE)
        try:
            return _evaluate(config, simulator, tasks, policy, directory, console)
        except KeyboardInterrupt:  # once more, while what derives from the journal was made
            raise KeyboardInterrupt(f"go on with: {command('run', '--resume', directory.path)}") from None


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Treat SIGTERM, which schedulers send, like Ctrl-C."""

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


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
    new_console().print(rich_table(summary))
    if detect is not None:
        print(detection_text(summary, detect), end="\n\n")
    print(folder)
    return 0


def load(config: RunConfig) -> LocalPolicy:
    """Return the policy that a run's settings name."""
    return load_policy(
        config.policy,
        checkpoint=config.checkpoint,
        config=config.config,
        config_file=config.config_file,
        tokenizer=config.tokenizer,
        device=config.device,
        flow_steps=config.flow_steps,
        engine=config.engine,
        execution=config.execution,
    )


def check_robot(suite: Suite, policy: LocalPolicy) -> None:
    """Refuse a policy for another robot than the suite's.

    Raises:
        UserError: it is one.
    """
    robot = getattr(policy.config, "observation", suite.robot)
    if robot != suite.robot:
        bundled = [
            f"--policy {name}"
            for name, trained_on in trained_policies().items()
            if find_suite(trained_on.suite).robot == suite.robot
        ]
        ways = [*bundled, f"--checkpoint DIR --config {_EXAMPLES[suite.robot]}", "--policy zero"]
        raise UserError(
            f"the policy {policy.name} is for the robot {robot}, the suite {suite.name} has {suite.robot}: name "
            f"one for it: {', or '.join(ways)}"
        )


def print_plan(policy: LocalPolicy, precisions: Sequence[Precision]) -> int:
    """Print which layers the methods among some precisions give which bits; returns the exit status, 0."""
    from headless_eval.quant.linears import places

    for precision in precisions:
        if precision.method is None or policy.module is None:
            continue
        for place in (chosen := places(policy.module, precision)):
            shape = f"{place.module.in_features} -> {place.module.out_features}"
            print(f"{place.name}  {shape}  {place.bits}")
        print(f"{precision.name}: {len(chosen)} linear layers")
    return 0


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


def describe(
    config: RunConfig, simulator: Simulator, tasks: tuple[Task, ...], policy: LocalPolicy
) -> dict[str, Any]:
    """Return the manifest of a run that would start now."""
    settings = {
        name: str(value.resolve()) if isinstance(value, Path) else value
        for name, value in asdict(config).items()
        if name not in ("resume", "force", "dry_run")
    }
    if Path(config.policy).is_dir() and config.policy not in list_policies():
        settings["policy"] = str(Path(config.policy).resolve())
    settings["results"] = None if config.results is None else str(config.results)
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
    before = directory.records()
    left = left_of(directory, config.retries)
    stopping = directory.stopping()
    if stopping:
        trials.sort(key=lambda trial: stopping.order(trial.key))

    def wanted(trial: Trial) -> bool:
        return stopping is None or stopping.wanted(trial.key)

    there = sum(not left(trial.key) for trial in trials)
    to_do = [trial for trial in trials if left(trial.key) and wanted(trial)]
    # What is to be tried again is shown as what is still to come.
    shown_before = [record for record in before if not left(record.trial)]
    progress: RunProgress | JsonProgress
    if config.log_json:
        progress = JsonProgress(len(trials), shown_before)
    else:
        if before:
            console.print(f"{there} of {len(trials)} episodes are there", highlight=False)
        progress = RunProgress(console, names, len(tasks) * config.episodes, shown_before)
    spent, quantized = None, dict(directory.manifest.get("quantized") or {})
    ended = 0
    shown = {record.trial for record in shown_before}

    def show_stop(name: str) -> None:
        if stopping:
            left_out = sum(trial.precision.name == name and trial.key not in shown for trial in trials)
            progress.stop(name, stopping.stops[name].sentence, left_out)

    def on_episode(record: EpisodeRecord, actions: np.ndarray) -> None:
        nonlocal ended
        directory.append(record, actions)
        ended += 1
        quantized[record.configuration] = policy.describe_precision()
        if stopping is None or stopping.wanted(record.trial):
            shown.add(record.trial)
            progress.update(record)
        for name in stopping.add(record) if stopping else ():
            show_stop(name)

    def open_video(trial: Trial) -> Video | None:
        fps = simulator.control_hz / interval
        return None if config.videos == "none" else _EpisodeVideo(directory, trial, fps, config.videos)

    def on_hang(activity: str, episodes: Sequence[Any], stack: str) -> None:
        message = f"{activity} did not return within {config.episode_timeout:g} s"
        error = {"type": EpisodeTimeout.__name__, "message": message, "traceback": stack}
        try:
            for episode in episodes:
                directory.append(episode.record(error), episode.taken)
        except UserError as fault:  # nobody else can tell: this thread is the watchdog's, the main one hangs
            print(f"headless-eval: error: {message}, and {fault}", file=sys.stderr, flush=True)
            os._exit(2)
        directory.close()
        _start_afresh(directory, config, message)

    with progress, suppress(KeyboardInterrupt), Watchdog(config.episode_timeout, on_hang) as watchdog:
        for name, stop in stopping.stops.items() if stopping else ():
            if stop.decision != "continue":
                show_stop(name)
        spent = run_trials(
            simulator,
            policy,
            to_do,
            on_episode=on_episode,
            open_loop_horizon=_horizon(config, policy),
            open_video=open_video,
            frame_interval=interval,
            retries=config.retries,
            attempts=left.attempts,
            episode_timeout=config.episode_timeout,
            watch=watchdog.watch,
            wanted=wanted,
        )
    summary = summarize_run(directory)
    done = summary.episodes + summary.errors
    status = 130 if spent is None else 1 if summary.errors else 0
    peak = max(_peak_memory(), int(directory.manifest.get("peak_memory_bytes") or 0))
    entries: dict[str, Any] = {"quantized": quantized, "peak_memory_bytes": peak, "batch": policy.batch}
    if stopping:
        decisions = {name: asdict(stop) for name, stop in summary.stops.items()}
        entries["sequential"] = {"alpha": stopping.alpha, "configurations": decisions}
    if spent and ended:
        entries["time"] = _time(spent, ended, directory.manifest.get("time"))
    directory.update_manifest(**entries)
    directory.finish(status, "interrupted" if spent is None else "finished")
    try:
        build(directory)  # last, for the page shows the manifest
    except UserError:
        with suppress(UserError):
            directory.finish(2, "failed")
        raise
    console.print(rich_table(summary))
    if spent is None:
        print(
            f"headless-eval: interrupted: {done} of {len(trials)} episodes are kept; "
            f"go on with: {command('run', '--resume', directory.path)}",
            file=sys.stderr,
        )
    elif ended:
        console.print(_breakdown(spent, ended), highlight=False, soft_wrap=True)
    if spent and summary.errors:
        console.print(
            f"{summary.errors} of {done} episodes ended in an error and count as neither success nor failure; "
            f"their tracebacks are in {directory.path / 'report.html'}. To try them again: "
            + command(
                "run", "--resume", directory.path, "--retries", max(left_of(directory, 0).attempts.values())
            ),
            highlight=False,
            soft_wrap=True,
        )
    if config.log_json:
        print_event(
            "end",
            status=directory.manifest["status"],
            exit_status=status,
            successes=summary.successes,
            episodes=summary.episodes,
            errors=summary.errors,
            results=str(directory.path),
        )
    else:
        console.print(f"What to look at: {directory.path / 'report.html'}", highlight=False, soft_wrap=True)
        print(directory.path)
    return status


def _start_afresh(directory: RunDirectory, config: RunConfig, reason: str) -> None:
    """Replace this process, in which something hangs, by a fresh one that goes on with the run."""
    print(f"headless-eval: {reason}; going on in a fresh process", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    arguments = ["-m", "headless_eval", "run", "--resume", str(directory.path)]
    arguments += ["--quiet"] * config.quiet + ["--log-json"] * config.log_json
    os.execv(sys.executable, [sys.executable, *arguments])


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


def _time(spent: TimeSpent, episodes: int, before: Any = None) -> dict[str, float]:
    """Return where the time went, for the manifest: seconds, and episodes a minute; sessions add up."""
    earlier = before if isinstance(before, dict) else {}
    seconds = {f"{name}_s": value for name, value in asdict(spent).items()} | {"total_s": spent.total}
    time = {name: value + earlier.get(name, 0.0) for name, value in seconds.items()}
    # An earlier session that was killed left neither its time nor its number of episodes.
    number = episodes + earlier.get("episodes", 0)
    return time | {"episodes": number, "episodes_per_minute": 60 * number / time["total_s"]}


def _breakdown(spent: TimeSpent, episodes: int) -> str:
    """Return the same for people."""
    shares = ", ".join(f"{name} {seconds / spent.total:.1%}" for name, seconds in asdict(spent).items())
    number = f"{episodes} episode{'' if episodes == 1 else 's'}"
    return f"{duration(spent.total)} for {number}, {60 * episodes / spent.total:.1f} a minute: {shares}"


def _peak_memory() -> int:
    """Return the most memory that this process held, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
