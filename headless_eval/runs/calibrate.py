"""Calibration: the inputs of a policy's linear layers, recorded on observations from a few episodes.

The episodes are the policy's at float32, with seeds that no evaluation of that seed meets. Of all that it saw in
them, some observations are drawn by a hash, and inferred once more, one by one: so the calibration is the same
whatever the number of slots.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.status import Status
from rich.text import Text

from headless_eval.config.calibrate import CalibrateConfig
from headless_eval.config.run import RunConfig
from headless_eval.contracts.seeding import TrialSeed
from headless_eval.contracts.simulator import Simulator, Task
from headless_eval.contracts.variant import Variant
from headless_eval.errors import UserError
from headless_eval.local_policy import LocalPolicy
from headless_eval.loop import run_trials
from headless_eval.quant.precision import Precision
from headless_eval.results import ERROR, EpisodeRecord
from headless_eval.rollout.recording import RecordedObservation, RecordingPolicy
from headless_eval.rollout.trials import Trial
from headless_eval.runs.evaluator import Evaluator
from headless_eval.shared.terminal import new_console
from headless_eval.shared.text import plural

if TYPE_CHECKING:
    from headless_eval.quant import Calibration

FILE = "calibration.safetensors"
"""The name of a run's own calibration in its folder."""

EPISODES = 3
OBSERVATIONS = 32
_SEED_OFFSET = 1_000_003  # no evaluation of the same seed meets these episodes


def calibrate(
    simulator: Simulator,
    policy: LocalPolicy,
    tasks: Sequence[Task],
    *,
    seed: int,
    open_loop_horizon: int,
    episodes: int = EPISODES,
    observations: int = OBSERVATIONS,
    tell: Callable[[str], Any] = lambda text: None,
    **facts: Any,
) -> "Calibration":
    """Run a few episodes and record the inputs of the policy's linear layers.

    Args:
        simulator: of the tasks' suite.
        policy: is left at float32.
        tasks: the episodes are dealt out to them in turn.
        seed: of the evaluation; calibration's own is 1,000,003 more.
        open_loop_horizon: control steps between two observations.
        episodes: how many.
        observations: how many of those that the policy saw in them are used.
        tell: called with the progress.
        facts: more for the calibration's own description.

    Raises:
        UserError: no episode gave an observation; the policy holds no torch model.
    """
    policy.calibratable()  # before the episodes
    seen = record_observations(
        simulator, policy, tasks, seed, open_loop_horizon, episodes=episodes, number=observations, tell=tell
    )
    tell(f"Calibrating: what {len(seen)} observations put into the linear layers")
    return policy.record_inputs(
        [one.observation for one in seen],
        [one.noise for one in seen],
        policy=policy.name,
        tasks=" ".join(task.key for task in tasks),
        seed=seed + _SEED_OFFSET,
        episodes=episodes,
        number=len(seen),
        **facts,
    )


def record_observations(
    simulator: Simulator,
    policy: LocalPolicy,
    tasks: Sequence[Task],
    seed: int,
    open_loop_horizon: int,
    *,
    episodes: int = EPISODES,
    number: int = OBSERVATIONS,
    tell: Callable[[str], Any] = lambda text: None,
) -> list[RecordedObservation]:
    """Return observations that a policy sees in episodes of its own at float32, with their noise.

    They are those of which a hash is least, in its order: a draw that depends on nothing but themselves.
    Arguments and errors as of ``calibrate``.
    """
    recorder: Any = RecordingPolicy(policy)
    trials = [
        Trial(
            Variant(Precision()),
            tasks[index % len(tasks)],
            TrialSeed(seed + _SEED_OFFSET, tasks[index % len(tasks)].id, index // len(tasks)),
        )
        for index in range(episodes)
    ]
    ended: list[EpisodeRecord] = []

    def on_episode(record: EpisodeRecord, _: np.ndarray) -> None:
        ended.append(record)
        tell(f"Calibrating: {len(ended)} of {episodes} episodes")

    tell(f"Calibrating: 0 of {episodes} episodes")
    run_trials(simulator, recorder, trials, on_episode=on_episode, open_loop_horizon=open_loop_horizon)
    if not recorder.seen or all(record.status == ERROR for record in ended):
        error = next((record.error for record in ended if record.error), None) or {}
        raise UserError(
            f"calibration has seen nothing: its episodes ended in errors ({error.get('message')})"
        )
    return [recorder.seen[key] for key in sorted(recorder.seen)[:number]]


def saved_calibration(policy: LocalPolicy, run: Path | None, file: Path | None) -> "Calibration | None":
    """Return the calibration of a run's folder, else that of a file; None if there is neither.

    Raises:
        UserError: the file cannot be read, or was recorded with other weights than the policy's.
    """
    from headless_eval.quant import Calibration

    own = None if run is None else run / FILE
    path = own if own is not None and own.is_file() else file
    if path is None:
        return None
    calibration = Calibration.load(path)
    calibration.check(policy.fingerprint(), str(path))
    return calibration


def calibration_for(
    evaluator: Evaluator, run: Path | None, console: Console, status: Status
) -> "Calibration":
    """Return the calibration of a resumed run's folder, or of the settings' file, or a new calibration.

    Args:
        evaluator: with policy and simulator open.
        run: the folder of a resumed run; None for a new run.
        console: where a new calibration is told of.
        status: display of a new calibration's progress.

    Raises:
        UserError: a saved calibration cannot be read or is another model's; see also ``calibrate``.
    """
    saved = saved_calibration(evaluator.policy, run, evaluator.settings.calibration)
    if saved is not None:
        return saved
    steps = evaluator.settings.calibration_steps
    return calibrate_and_tell(evaluator, EPISODES, steps, console, status)


def calibrate_and_tell(
    evaluator: Evaluator, episodes: int, observations: int, console: Console, status: Status
) -> "Calibration":
    """Calibrate as a run's settings say, and print a line when it ends; without a terminal also when it begins.

    Arguments and errors as of ``calibrate`` and ``calibration_for``.
    """
    counted = plural(episodes, "episode")
    if not console.is_terminal:
        console.print(f"calibrating on {counted} of its own at float32", highlight=False)
    began = perf_counter()
    calibration = calibrate(
        evaluator.simulator,
        evaluator.policy,
        evaluator.tasks,
        seed=evaluator.settings.seed,
        open_loop_horizon=evaluator.open_loop_horizon,
        episodes=episodes,
        observations=observations,
        tell=status.update,
        suite=evaluator.suite.name,
    )
    number = int(calibration.facts["number"])
    fewer = f" (not {observations}: there were no more)" if number < observations else ""
    console.print(
        f"calibrated on {number} observations of {counted}{fewer} in {perf_counter() - began:.1f} s",
        highlight=False,
        soft_wrap=True,
    )
    return calibration


def calibrate_to_file(settings: CalibrateConfig) -> int:
    """Calibrate a policy and write the file.

    Returns:
        The exit status, 0.

    Raises:
        UserError: the file exists or cannot be written; see ``calibrate``.
    """
    config, output = RunConfig.of_flags(settings), settings.output
    if output.exists():
        raise UserError(f"{output} is there already: choose another --output, or remove it")
    console = new_console(stderr=True)
    with (
        Evaluator(config, slots=config.episodes) as evaluator,
        console.status(Text(f"Loading {config.policy}")) as status,
    ):
        evaluator.load_policy()
        evaluator.start_simulator()
        calibration = calibrate_and_tell(evaluator, config.episodes, settings.observations, console, status)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        calibration.save(output)
    except OSError as error:
        raise UserError(f"cannot write {output}: {error.strerror}") from None
    console.print(f"{len(calibration.layers)} linear layers of {evaluator.policy.name}", highlight=False)
    print(output)
    return 0
