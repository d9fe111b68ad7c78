"""What variants would have done on the baseline's path: each is asked at every replan of the baseline's episodes.

The observation and the noise are the baseline's own, so nothing but the variant differs, and no episode is simulated
for it. Observations are kept while the baseline's episodes run; those that are not in memory come from simulating an
episode again with its recorded actions.
"""

import hashlib
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from headless_eval.contracts.simulator import Simulator, Task
from headless_eval.contracts.variant import Variant
from headless_eval.errors import StopRun, UserError
from headless_eval.local_policy import LocalPolicy
from headless_eval.results import ERROR, EpisodeRecord, RunDirectory
from headless_eval.results.divergence import Divergence
from headless_eval.rollout.replay import replan_observations
from headless_eval.rollout.trials import Trial
from headless_eval.shared.foreign import foreign_code

EPISODES = 2
"""Episodes of each task whose replans are asked about by default."""

MOST_BYTES = 512 * 2**20
"""The most memory that observations are kept in; further episodes are simulated again when they are needed."""

_BATCHES = 8  # full batches in a call of the policy

_log = logging.getLogger(__name__)

Place = tuple[int, int]  # task id, episode


class Replan(NamedTuple):
    """A moment at which the policy was asked: the episode, the replan's number in it from 0, and the observation."""

    place: Place
    number: int
    observation: dict[str, Any]


@dataclass
class _Path:
    """An episode of the baseline that ended without an error, and what its policy saw at its replans."""

    record: EpisodeRecord
    actions: np.ndarray
    seen: list[dict[str, Any]] = field(default_factory=list)


def why_not(policy: LocalPolicy) -> str | None:
    """Return why a policy cannot be asked what it would have done; None if it can."""
    if not policy.stateless:
        return f"{policy.name} keeps a history or draws at random, so it cannot be asked in another order"
    if policy.determinism == "not given":
        return (
            f"{policy.name} replies differently to the same observation, so a difference would mean nothing"
        )
    return None


def default_episodes(policy: LocalPolicy) -> int:
    """Return how many episodes of each task are asked about by default: none of a policy on a server."""
    return 0 if getattr(policy.policy, "elsewhere", False) else EPISODES


class BaselinePath:
    """The path of the baseline in its first episodes of each task, along which variants are asked.

    Args:
        simulator: of the run's suite; it is used between the trials of two variants.
        policy: the policy; it is asked in the variant that it is in.
        directory: of the run, open for writing.
        tasks: of the run.
        horizon: control steps between two replans.
        episodes: how many of each task, from the first; 0 for none.
        watch: context around every call of the simulator and the policy.
        most_bytes: memory for observations.

    Attributes:
        failed: why variants were not asked, by their names.
        lost: why episodes are not asked along: they do not come out the same when they are simulated again.
    """

    def __init__(
        self,
        simulator: Simulator,
        policy: LocalPolicy,
        directory: RunDirectory,
        tasks: Iterable[Task],
        horizon: int,
        episodes: int,
        *,
        watch: Callable[[], AbstractContextManager[None]] = nullcontext,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self._simulator, self._policy, self._directory = simulator, policy, directory
        self._tasks = {task.id: task for task in tasks}
        self._horizon, self._episodes = horizon, episodes
        self._watch, self._most = watch, most_bytes
        self._paths: dict[Place, _Path] = {}
        self._running: dict[Place, list[dict[str, Any]]] = {}
        self._bytes = 0
        self.failed: dict[str, str] = {}
        self.lost: list[str] = []
        for record in directory.records() if episodes else ():
            if self._counts(record) and (actions := directory.actions(record)) is not None:
                self._paths[record.task_id, record.episode] = _Path(record, actions)

    def keep(self, trial: Trial, replan: int, observation: dict[str, Any]) -> None:
        """Keep what the policy saw at a replan, if the trial is one of the baseline's first episodes."""
        name, *place = trial.key
        if name != self._directory.baseline or trial.seed.episode >= self._episodes:
            return
        key = place[0], place[1]
        if replan == 0:
            self._forget(self._running.pop(key, []))
            self._running[key] = []
        seen = self._running.get(key)
        if seen is None:
            return
        size = _bytes(observation)
        if self._bytes + size > self._most:
            self._forget(self._running.pop(key))
            return
        seen.append(observation)
        self._bytes += size

    def ended(self, record: EpisodeRecord, actions: np.ndarray) -> None:
        """Take over an episode that has ended, with its executed actions, float32 (steps, dims)."""
        if record.configuration != self._directory.baseline:
            return
        seen = self._running.pop((record.task_id, record.episode), [])
        if self._counts(record):
            self._paths[record.task_id, record.episode] = _Path(record, actions, seen)
        else:
            self._forget(seen)

    def missing(self, name: str) -> list[Place]:
        """Return the episodes, by task and number, along which a variant has not been asked yet.

        Raises:
            UserError: ``divergence.jsonl`` is damaged.
        """
        there = {line.trial: line for line in self._directory.divergences.lines()}
        return [
            place
            for place, path in sorted(self._paths.items())
            if (line := there.get((name, *place))) is None or not line.is_of(path.record)
        ]

    def measure(self, variant: Variant) -> None:
        """Ask the policy, which is in this variant, along the episodes that it was not asked along yet.

        A fault is noted in ``failed`` and ends nothing else.

        Raises:
            StopRun: the folder takes no more, or the policy's server is gone.
        """
        name = variant.name
        if not self._episodes or name == self._directory.baseline or name in self.failed:
            return
        try:
            found = self.ask(self.missing(name))
            self._directory.divergences.add(
                [(self._line(name, place, actions), actions) for place, actions in found.items()]
            )
        except StopRun:
            raise
        except Exception as fault:
            self.fail(name, f"{type(fault).__name__}: {fault}")

    def fail(self, name: str, reason: str) -> None:
        """Note why a variant was not asked, so that it is not asked again."""
        self.failed[name] = " ".join(reason.split())
        _log.warning("%s is not asked what it would have done: %s", name, self.failed[name])

    def ask(self, places: Iterable[Place]) -> dict[Place, np.ndarray]:
        """Return what the policy, as it is, would have done in some episodes, instead of the executed actions.

        Args:
            places: the episodes, by task and number.

        Returns:
            Float32 (steps, dims) for each, dimensions and steps as in the baseline's episode; not finite where the
            policy gave no finite number. Episodes that do not come out the same when simulated again are left out.

        Raises:
            ValueError: the policy gave too few actions, or of another width.
        """
        chunks: dict[Place, list[np.ndarray]] = defaultdict(list)
        replans = self._replans(places)
        while group := list(islice(replans, _BATCHES * self._policy.batch)):
            with self._watch(), foreign_code():
                replies = self._policy.infer_batch(
                    [one.observation for one in group], self._noise(group), [0] * len(group)
                )
            for one, reply in zip(group, replies, strict=True):
                chunks[one.place].append(np.asarray(reply["actions"], np.float32)[: self._horizon])
        found = {}
        for place, parts in chunks.items():
            taken = self._paths[place].actions
            rows = np.concatenate(parts)
            if rows.shape[1] != taken.shape[1] or len(rows) < len(taken):
                raise ValueError(
                    f"chunks of shape {parts[0].shape}, where {self._horizon} steps were executed"
                )
            found[place] = np.ascontiguousarray(rows[: len(taken)])
        return found

    def describe(self) -> dict[str, Any]:
        """Return what a manifest says of what is missing; empty if nothing is."""
        return {name: value for name in ("failed", "lost") if (value := getattr(self, name))}

    def taken(self, place: Place) -> np.ndarray:
        """Return the actions that the baseline executed in an episode, float32 (steps, dims)."""
        return self._paths[place].actions

    @property
    def places(self) -> list[Place]:
        """The baseline's episodes, by task and number."""
        return sorted(self._paths)

    def _counts(self, record: EpisodeRecord) -> bool:
        return (
            record.configuration == self._directory.baseline
            and record.episode < self._episodes
            and record.status != ERROR
            and record.steps > 0
            and record.task_id in self._tasks
        )

    def _replans(self, places: Iterable[Place]) -> Iterator[Replan]:
        for place in places:
            path = self._paths[place]
            try:
                seen = path.seen or self._replayed(path)
            except UserError as error:
                self.lost.append(str(error))
                del self._paths[place]
                continue
            for number, observation in enumerate(seen):
                yield Replan(place, number, observation)

    def _replayed(self, path: _Path) -> list[dict[str, Any]]:
        """Return what was seen at an episode's replans, from simulating it again; keep it if there is room.

        Raises:
            UserError: the episode comes out otherwise than it was recorded.
        """
        task = self._tasks[path.record.task_id]
        with self._watch(), foreign_code():
            met = replan_observations(self._simulator, task, path.record, path.actions, self._horizon)
            seen = list(met)
        size = sum(map(_bytes, seen))
        if self._bytes + size <= self._most:
            path.seen, self._bytes = seen, self._bytes + size
        return seen

    def _noise(self, group: Iterable[Replan]) -> np.ndarray | None:
        shape = self._policy.noise_shape
        if shape is None:
            return None
        return np.stack(
            [
                self._tasks[one.place[0]]
                .trial_seed(self._paths[one.place].record.seed, one.place[1])
                .flow_noise(one.number, shape)
                for one in group
            ]
        )

    def _line(self, name: str, place: Place, actions: np.ndarray) -> Divergence:
        record = self._paths[place].record
        return Divergence(
            configuration=name,
            task_id=record.task_id,
            episode=record.episode,
            steps=record.steps,
            horizon=self._horizon,
            baseline_sha256=record.actions_sha256,
            actions_sha256=hashlib.sha256(actions.astype("<f4").tobytes()).hexdigest(),
        )

    def _forget(self, seen: Iterable[Mapping[str, Any]]) -> None:
        self._bytes -= sum(map(_bytes, seen))


def _bytes(observation: Mapping[str, Any]) -> int:
    return sum(getattr(value, "nbytes", 0) for value in observation.values())
