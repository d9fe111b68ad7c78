"""The command ``run``, and ``evaluate``, its counterpart in Python."""

import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import Any

from rich.console import Console
from rich.text import Text

from headless_eval.config.run import RunConfig
from headless_eval.config.stored import run_with
from headless_eval.config.variants import settings_for
from headless_eval.contracts.variant import Variant
from headless_eval.errors import UserError
from headless_eval.local_policy import LocalPolicy
from headless_eval.loop import TimeSpent
from headless_eval.policies.registry import trained_on
from headless_eval.quant.methods import Method
from headless_eval.quant.packs import check_packdir
from headless_eval.quant.precision import Precision
from headless_eval.report import build
from headless_eval.report.run import Run, read_run
from headless_eval.report.terminal import print_results
from headless_eval.report.trackers import find_trackers
from headless_eval.results import RunDirectory
from headless_eval.results.bounded import bounded
from headless_eval.results.levels import planned_levels
from headless_eval.results.manifest import task_entry
from headless_eval.rollout.video import find_ffmpeg
from headless_eval.runs import calibrate
from headless_eval.runs.description import describe, print_plan
from headless_eval.runs.evaluator import Evaluator
from headless_eval.runs.execution import Execution, Outcome
from headless_eval.runs.guest import untouched
from headless_eval.runs.progress import duration, print_event
from headless_eval.runs.resume import check_unchanged, remaining_trials, settings_of, whole_run
from headless_eval.shared.consent import remember_used
from headless_eval.shared.program import command
from headless_eval.shared.terminal import new_console
from headless_eval.shared.text import plural


def run(config: RunConfig) -> int:
    """Evaluate a policy, show the progress, and write a folder of results; or continue such a run.

    Returns:
        The exit status: 0 all episodes ran, 1 some were errors, 130 interrupted.

    Raises:
        UserError: the run cannot start; nothing is written then.
    """
    console = new_console(quiet=config.quiet or config.log_json)
    if (whole := whole_run(config)) is not None:
        return _show_whole(whole, config, console)
    with _terminated_as_interrupted(), _open(config, None, console) as evaluator:
        if config.dry_run:
            print_plan(evaluator.load_policy(), config.precisions)
            return 0
        with _prepare(evaluator, console) as directory:
            try:
                outcome = Execution(evaluator, directory, console).run()
            except KeyboardInterrupt:  # once more, while what derives from the journal was made
                raise KeyboardInterrupt(f"go on with: {command('run', '--resume', directory.path)}") from None
            _show(outcome, directory, config, console)
            sys.stdout.flush()  # here, where the manifest can still tell of a closed pipe
            return outcome.status


def evaluate(
    policy: LocalPolicy | Any,
    *,
    variants: Sequence[str | Precision | Method | Variant] | None = None,
    **settings: Any,
) -> Run:
    """Evaluate a policy from Python: what ``headless-eval run`` does, with nothing printed.

    It may be called within a training loop and from any thread, and leaves the process as it was: signal handlers,
    environment variables, torch's threads, gradient mode and autocast; on the main thread also the states of all random
    generators. A given policy is put back as it was, to the bit: weights, training mode of each part, precision and
    settings. Its weights must not be trained meanwhile.

    Args:
        policy: a name or a folder as ``--policy`` takes it, a ``LocalPolicy``, or any object with ``infer(obs)``. Its
            model is evaluated in evaluation mode, without gradients. A ``LocalPolicy`` is left open.
        variants: the variants to compare, instead of ``dtypes`` and ``modes``: ``Variant``, ``Precision`` and method
            objects, or texts such as ``"int8_both"``, ``"duquant_w4a8"`` and ``"float32+flow_steps=5"``.
        settings: the other settings of a run, by the names of its flags: ``suite="droid", tasks=["1"], episodes=10,
            dtypes=["float32", "int8"], videos="none", results="results/mine"``. ``resume=DIR`` continues a run
            with the settings that it has.

    Returns:
        The run, to read: ``path``, ``manifest``, ``records()``, the data frames ``episodes`` and ``summary``,
        ``actions(episode)``, ``report()``.

    Raises:
        UserError: a setting is unknown or out of range, or the run cannot start.
        KeyboardInterrupt: interrupted; finished episodes are in the folder, and ``resume`` continues the run.
    """
    if variants is not None:
        settings |= settings_for(variants)
    given = None
    if not isinstance(policy, str | Path):
        given = policy if isinstance(policy, LocalPolicy) else LocalPolicy(policy, type(policy).__name__)
        settings["policy"] = given.name
    else:
        settings["policy"] = str(policy)
    begun = settings.get("resume")
    config = run_with({"quiet": True} | settings, None if begun is None else settings_of(Path(begun)))
    console = new_console(quiet=True)
    with ExitStack() as stack:
        stack.enter_context(untouched())
        if given is not None and given is not policy:
            stack.enter_context(given)
        evaluator = stack.enter_context(_open(config, given, console))
        directory = stack.enter_context(_prepare(evaluator, console))
        outcome = Execution(evaluator, directory, console, guest=True).run()
    if outcome.status == 130:
        again = f"evaluate(policy, resume={str(directory.path)!r})"
        again = command("run", "--resume", directory.path) if given is None else again
        raise KeyboardInterrupt(f"go on with: {again}")
    return read_run(directory.path)


def _open(config: RunConfig, policy: LocalPolicy | None, console: Console) -> Evaluator:
    """Return an evaluator for a run, after everything that can be checked before a policy is loaded."""
    if config.resume is None:
        RunDirectory.check(config.results)
    elif config.results is not None and config.results.resolve() != config.resume.resolve():
        raise UserError(
            "--results and --resume name two folders: a run goes on in its own; leave --results out"
        )
    find_trackers(config.track)
    if config.packdir is not None:
        check_packdir(config.packdir)
    for precision in config.precisions:
        if precision.change is not None:
            precision.change.check()
    evaluator = Evaluator(config, policy=policy)
    if config.until_width:
        planned_levels([task_entry(task) for task in evaluator.tasks], config.until_width)
    if config.sequential_on is not None:
        bounded(config.sequential_on)
    if config.videos != "none":
        find_ffmpeg()
    return evaluator


@contextmanager
def _prepare(evaluator: Evaluator, console: Console) -> Iterator[RunDirectory]:
    """Open policy and simulator, calibrate, warm up, and give the run's folder, open for writing.

    Raises:
        UserError: something that every episode needs is missing or does not fit; nothing is written then.
    """
    config = evaluator.settings
    with ExitStack() as stack:
        directory = None
        if config.resume is not None:
            directory = stack.enter_context(RunDirectory.open(config.resume, write=True))
        with console.status(Text(f"Loading {config.policy}")) as status:
            began = perf_counter()
            policy = evaluator.load_policy()
            remember_used()  # by now nothing of it was refused
            policy.packdir = config.packdir
            loaded = perf_counter()
            evaluator.start_simulator()
            if config.needs_calibration and policy.module is not None:
                run = directory.path if directory else None
                policy.calibration = calibrate.calibration_for(evaluator, run, console, status)
            calibrated = perf_counter()
            evaluator.rehearse(config.variants)
        console.print(
            f"{policy.name} on {policy.device}: loaded in {loaded - began:.1f} s, "
            f"warmed up in {perf_counter() - calibrated:.1f} s",
            highlight=False,
        )
        if policy.determinism == "not given":
            console.print(
                f"{policy.name} replies differently to the same observation from the same seed: actions of this run "
                "cannot be repeated, and verify compares outcomes alone",
                highlight=False,
                soft_wrap=True,
            )
        if not evaluator.policy_was_given:
            trained = trained_on(config.policy, config.checkpoint)
            tasks = evaluator.tasks
            if trained and (warning := trained.warning(policy.name, evaluator.suite.name, tasks)):
                console.print(warning, highlight=False, soft_wrap=True)
        manifest = describe(evaluator)
        if directory is None:
            directory = stack.enter_context(RunDirectory.create(config.results, manifest))
        else:
            check_unchanged(directory, manifest, force=config.force)
            directory.clean()
        if policy.calibration is not None and not (directory.path / calibrate.FILE).exists():
            policy.calibration.save(directory.path / calibrate.FILE)
        yield directory


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


def _show(outcome: Outcome, directory: RunDirectory, config: RunConfig, console: Console) -> None:
    """Print the results of a run: its table, its time by activity, and the command that continues it."""
    summary, spent = outcome.summary, outcome.spent
    done = summary.episodes + summary.errors
    print_results(console, directory, summary)
    if spent is None:
        print(
            f"headless-eval: interrupted: {done} of {outcome.planned} episodes are kept; "
            f"go on with: {command('run', '--resume', directory.path)}",
            file=sys.stderr,
        )
    elif outcome.ended:
        console.print(_breakdown(spent, outcome.ended), highlight=False, soft_wrap=True)
    if spent and summary.errors:
        retries = max(remaining_trials(directory, 0).attempts.values())
        console.print(
            f"{summary.errors} of {done} episodes ended in an error and count as neither success nor failure; "
            f"their tracebacks are in {directory.path / 'report.html'}. To try them again: "
            + command("run", "--resume", directory.path, "--retries", retries),
            highlight=False,
            soft_wrap=True,
        )
    if config.log_json:
        print_event(
            "end",
            status=directory.manifest["status"],
            exit_status=outcome.status,
            successes=summary.successes,
            episodes=summary.episodes,
            errors=summary.errors,
            results=str(directory.path),
        )
    else:
        console.print(f"What to look at: {directory.path / 'report.html'}", highlight=False, soft_wrap=True)
        print(directory.path)


def _show_whole(directory: RunDirectory, config: RunConfig, console: Console) -> int:
    """Make anew what derives from a run that has all its episodes, and print its results; return its exit status."""
    with RunDirectory.open(directory.path, write=True) as writable:
        writable.clean()
        summary = build(writable)
        outcome = Outcome(int(summary.errors > 0), summary, TimeSpent(), 0, len(directory.records()))
        if writable.manifest.get("exit_status") != outcome.status:
            writable.update_manifest(exit_status=outcome.status)
    console.print("all episodes are there: nothing is left to run", highlight=False)
    _show(outcome, directory, config, console)
    return outcome.status


def _breakdown(spent: TimeSpent, episodes: int) -> str:
    """Return the time by activity, in a line."""
    shares = ", ".join(
        f"{name} {seconds / spent.total:.1%}" for name, seconds in asdict(spent).items() if seconds
    )
    number = plural(episodes, "episode")
    return f"{duration(spent.total)} for {number}, {60 * episodes / spent.total:.1f} a minute: {shares}"
