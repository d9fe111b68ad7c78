"""Calibration: what goes into a policy's linear layers, seen on observations of a few episodes of its own.

The episodes are the policy's at float32, with seeds that no evaluation of that seed meets. Of all that it saw in
them, some observations are drawn by a hash, and inferred once more, one by one: so the calibration is the same
whatever the number of slots.
"""

import hashlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.status import Status
from rich.text import Text

from headless_eval.contracts.seeding import TrialSeed
from headless_eval.contracts.simulator import Simulator, Task
from headless_eval.errors import UserError
from headless_eval.loop import Trial, run_trials
from headless_eval.quant.precision import Precision
from headless_eval.results import ERROR, EpisodeRecord
from headless_eval.shared.terminal import new_console

if TYPE_CHECKING:
    from headless_eval.config.run import RunConfig
    from headless_eval.local_policy import LocalPolicy
    from headless_eval.quant import Calibration

FILE = "calibration.safetensors"
"""The name of a run's own calibration in its folder."""

EPISODES = 3
OBSERVATIONS = 32
_APART = 1_000_003


class Seen(NamedTuple):
    """An observation and the noise that its action chunk started from; None for policies that take none."""

    observation: dict[str, Any]
    noise: np.ndarray | None


def calibrate(
    simulator: Simulator,
    policy: "LocalPolicy",
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
        tell: is called with how it gets on.
        facts: more for the calibration's own description.

    Raises:
        UserError: no episode gave an observation; the policy holds no torch model.
    """
    seen = record_observations(
        simulator, policy, tasks, seed, open_loop_horizon, episodes=episodes, number=observations, tell=tell
    )
    tell(f"Calibrating: what {len(seen)} observations put into the linear layers")
    return policy.record_inputs(
        [one.observation for one in seen],
        [one.noise for one in seen],
        policy=policy.name,
        tasks=" ".join(task.key for task in tasks),
        seed=seed + _APART,
        episodes=episodes,
        number=len(seen),
        **facts,
    )


def record_observations(
    simulator: Simulator,
    policy: "LocalPolicy",
    tasks: Sequence[Task],
    seed: int,
    open_loop_horizon: int,
    *,
    episodes: int = EPISODES,
    number: int = OBSERVATIONS,
    tell: Callable[[str], Any] = lambda text: None,
) -> list[Seen]:
    """Return observations that a policy sees in episodes of its own at float32, with their noise.

    They are those of which a hash is least, in its order: a draw that depends on nothing but themselves.
    Arguments and errors as of ``calibrate``.
    """
    recorder = _RecordingPolicy(policy)
    trials = [
        Trial(
            Precision(),
            tasks[index % len(tasks)],
            TrialSeed(seed + _APART, tasks[index % len(tasks)].id, index // len(tasks)),
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


def saved_calibration(policy: "LocalPolicy", run: Path | None, file: Path | None) -> "Calibration | None":
    """Return the calibration of a run's folder, else that of a file; None if there is neither.

    Raises:
        UserError: it cannot be read, or was recorded with other weights than the policy's.
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
    config: "RunConfig",
    simulator: Simulator,
    policy: "LocalPolicy",
    tasks: Sequence[Task],
    run: Path | None,
    console: Console,
    status: Status,
) -> "Calibration":
    """Return the calibration in the folder of a run that goes on, or that of its settings' file, or a new one.

    Args and errors as of ``saved_calibration`` and ``calibrate_aloud``.
    """
    saved = saved_calibration(policy, run, config.calibration)
    if saved is not None:
        return saved
    return calibrate_aloud(
        console, status, config, simulator, policy, tasks, EPISODES, config.calibration_steps
    )


def calibrate_aloud(
    console: Console,
    status: Status,
    config: "RunConfig",
    simulator: Simulator,
    policy: "LocalPolicy",
    tasks: Sequence[Task],
    episodes: int,
    observations: int,
) -> "Calibration":
    """Calibrate as a run's settings say, and tell of it on a console: a line when it ends, and when it begins.

    On a terminal the status says how it gets on. Errors as of ``calibrate``.
    """
    counted = f"{episodes} episode{'' if episodes == 1 else 's'}"
    if not console.is_terminal:
        console.print(f"calibrating on {counted} of its own at float32", highlight=False)
    began = perf_counter()
    calibration = calibrate(
        simulator,
        policy,
        tasks,
        seed=config.seed,
        open_loop_horizon=config.open_loop_horizon or policy.open_loop_horizon,
        episodes=episodes,
        observations=observations,
        tell=status.update,
        suite=config.suite,
    )
    number = int(calibration.facts["number"])
    fewer = f" (not {observations}: there were no more)" if number < observations else ""
    console.print(
        f"calibrated on {number} observations of {counted}{fewer} in {perf_counter() - began:.1f} s",
        highlight=False,
        soft_wrap=True,
    )
    return calibration


def calibrate_to_file(config: "RunConfig", observations: int, output: Path) -> int:
    """Calibrate the policy of some settings, of which ``episodes`` is how many to run, and write the file.

    Returns:
        The exit status, 0.

    Raises:
        UserError: the file is there already or cannot be written; see ``calibrate``.
    """
    from headless_eval.runs.run import check_robot, load
    from headless_eval.sims.registry import find_suite, find_tasks

    if output.exists():
        raise UserError(f"{output} is there already: choose another --output, or remove it")
    suite = find_suite(config.suite)
    tasks = find_tasks(suite.load_tasks(), config.tasks)
    console = new_console(stderr=True)
    slots = min(config.slots, config.episodes)
    settings = suite.settings_of(config)
    with ExitStack() as stack:
        status = stack.enter_context(console.status(Text(f"Loading {config.policy}")))
        policy = stack.enter_context(load(config))
        check_robot(suite, policy)
        simulator = stack.enter_context(
            closing(suite.make(config.sim, num_slots=slots, image_size=policy.image_size, **settings))
        )
        calibration = calibrate_aloud(
            console, status, config, simulator, policy, tasks, config.episodes, observations
        )
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        calibration.save(output)
    except OSError as error:
        raise UserError(f"cannot write {output}: {error.strerror}") from None
    console.print(f"{len(calibration.layers)} linear layers of {policy.name}", highlight=False)
    print(output)
    return 0


class _RecordingPolicy:
    """The policy itself, as far as the loop is concerned, which keeps what it is asked."""

    def __init__(self, policy: "LocalPolicy") -> None:
        self._policy = policy
        self.noise_shape = policy.noise_shape
        self.set_precision = policy.set_precision
        self.reset = policy.reset
        self.seen: dict[bytes, Seen] = {}

    def infer_batch(
        self, observations: list[dict[str, Any]], noise: np.ndarray | None
    ) -> list[dict[str, Any]]:
        for index, observation in enumerate(observations):
            kept = {
                name: value.copy() if isinstance(value, np.ndarray) else value
                for name, value in observation.items()
            }
            own = None if noise is None else np.array(noise[index], np.float32)
            self.seen[_hash(kept, own)] = Seen(kept, own)
        return self._policy.infer_batch(observations, noise)


def _hash(observation: dict[str, Any], noise: np.ndarray | None) -> bytes:
    digest = hashlib.sha256()
    for name, value in sorted(observation.items()):
        digest.update(name.encode())
        digest.update(value.tobytes() if isinstance(value, np.ndarray) else str(value).encode())
    if noise is not None:
        digest.update(noise.tobytes())
    return digest.digest()
