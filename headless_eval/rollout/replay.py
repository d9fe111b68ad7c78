"""Replay of episodes from their recorded actions, in a simulator and without a policy."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from headless_eval.contracts.simulator import Simulator, Task
from headless_eval.errors import UserError
from headless_eval.results import EpisodeRecord


@dataclass(frozen=True)
class Frame:
    """One control step of an episode.

    Args:
        observation: what was seen before the action, as ``Simulator.observe`` returns it.
        action: what was done, float32 (action_dim,).
        success: whether the task was done after it.
        done: whether the episode was over after it.
    """

    observation: dict[str, Any]
    action: np.ndarray
    success: bool
    done: bool


def replay(simulator: Simulator, task: Task, record: EpisodeRecord, actions: np.ndarray) -> Iterator[Frame]:
    """Yield an episode's frames as it is simulated again in slot 0.

    Args:
        simulator: of the run's suite.
        task: the record's.
        record: of the episode; no error.
        actions: those executed, float32 (steps, action_dim).

    Raises:
        UserError: the episode ends otherwise than the record says.
    """
    simulator.reset(0, task, task.trial_seed(record.seed, record.episode))
    for step, action in enumerate(actions, start=1):
        (observation,) = simulator.observe([0])
        success = _step(simulator, record, step, action)
        yield Frame(observation, action, success, step == record.steps)


def replan_observations(
    simulator: Simulator, task: Task, record: EpisodeRecord, actions: np.ndarray, horizon: int
) -> Iterator[dict[str, Any]]:
    """Yield what the policy saw at each replan of an episode, as it is simulated again in slot 0.

    Only these observations are rendered. Arguments and errors as of ``replay``.

    Args:
        simulator: of the run's suite.
        task: the record's.
        record: of the episode; no error.
        actions: those executed, float32 (steps, action_dim).
        horizon: control steps between two replans.
    """
    simulator.reset(0, task, task.trial_seed(record.seed, record.episode))
    for step, action in enumerate(actions, start=1):
        if (step - 1) % horizon == 0:
            yield simulator.observe([0])[0]
        _step(simulator, record, step, action)


def _step(simulator: Simulator, record: EpisodeRecord, step: int, action: np.ndarray) -> bool:
    """Simulate an episode's step again, the first being 1; return whether the task is done.

    Raises:
        UserError: it comes out otherwise than the record says.
    """
    result = simulator.step({0: action.copy()})[0]
    done = step == record.steps
    if result.fault is not None:
        raise _differs(record, f"an error in step {step} now ({result.fault})")
    if result.success != (done and record.success):
        raise _differs(record, f"{'success' if result.success else 'no success'} after {step} steps now")
    if result.over and not done:
        raise _differs(record, f"over after {step} steps now")
    return bool(result.success)


def name_of(record: EpisodeRecord) -> str:
    """Return what messages call an episode."""
    return f"{record.configuration}, task {record.task_id}, episode {record.episode}"


def _differs(record: EpisodeRecord, now: str) -> UserError:
    return UserError(
        f"{name_of(record)}: {record.status} after {record.steps} steps then, {now}: it cannot be simulated "
        "again here; headless-eval verify says what may be why"
    )
