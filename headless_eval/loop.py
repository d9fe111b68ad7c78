"""The evaluation loop: runs trials as episodes, with a simulator and a policy.

The slots run in rounds: all slots are observed and inferred as one batch, then they step until their action chunks are
used up. A slot whose episode ends in the middle of a round starts its next trial when the round is over, at most a
chunk later, so that every inference is a full batch, whose time hardly depends on the number of rows. Every step moves
all slots with a running episode, because some simulators compute all slots at once. A trial depends only on its task,
its seed and its own actions, so neither the rounds nor the number of slots change a result.
"""

import hashlib
import math
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from itertools import groupby
from time import perf_counter
from typing import Any, Protocol, TypeVar

import numpy as np

from headless_eval.contracts.simulator import (
    MAX_ACTION,
    EpisodeOutcome,
    Simulator,
    StepResult,
    hash_of_state,
)
from headless_eval.contracts.variant import Variant
from headless_eval.errors import LostConnection, StopRun, UserError
from headless_eval.results.record import ERROR, FAILURE, SUCCESS, EpisodeRecord, describe_error
from headless_eval.rollout.trials import Trial
from headless_eval.shared.foreign import foreign_code

T = TypeVar("T")


class Policy(Protocol):
    """Interface of a policy in the loop; ``LocalPolicy`` implements it."""

    @property
    def noise_shape(self) -> tuple[int, ...] | None:
        """Shape (horizon, action_dim) of the noise of one observation; None if the policy takes no noise."""
        ...

    def set_variant(self, variant: Variant) -> Any:
        """Put the policy into this variant."""
        ...

    def infer_batch(
        self, observations: list[dict[str, Any]], noise: np.ndarray | None, slots: Sequence[int]
    ) -> list[dict[str, Any]]:
        """Return a dict with ``actions`` (horizon, action_dims) for each observation; each is of a slot's episode."""
        ...

    def reset(self, slots: Sequence[int], seeds: Sequence[int]) -> None:
        """Tell the policy that new episodes with these seeds begin in these slots."""
        ...


class Video(Protocol):
    """The video of one episode."""

    def add(self, frame: np.ndarray, step: int, seconds: float) -> None:
        """Append a frame, uint8 (height, width, 3), with the control steps and simulated seconds so far."""
        ...

    def finish(self, status: str, reason: str | None) -> str | None:
        """End the video with the episode's status and its reason; return its path for the record, or None if not kept.

        Args:
            status: ``success``, ``failure`` or ``error``.
            reason: why the episode failed, or None.
        """
        ...

    def discard(self) -> None:
        """Discard the video and its file."""
        ...


@dataclass
class TimeSpent:
    """Seconds by activity; the activities exclude each other and add up to the wall-clock time.

    Args:
        sim: resetting and stepping the simulator.
        render: images for the policy (observations) and for videos (frames).
        infer: the policy.
        precision: changing the variant, whose precision is most of it.
        divergence: asking a variant what it would have done on the baseline's path.
        rest: everything else, the journal and the display included.
    """

    sim: float = 0.0
    render: float = 0.0
    infer: float = 0.0
    precision: float = 0.0
    divergence: float = 0.0
    rest: float = 0.0

    @property
    def total(self) -> float:
        """Return the sum of all activities, in seconds."""
        return sum(getattr(self, activity.name) for activity in fields(self))

    def __add__(self, other: "TimeSpent") -> "TimeSpent":
        """Return the seconds of both, by activity."""
        return TimeSpent(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(self)))

    def add(self, activity: str, seconds: float) -> None:
        """Add seconds to an activity."""
        setattr(self, activity, getattr(self, activity) + seconds)


def run_trials(
    simulator: Simulator,
    policy: Policy,
    trials: Iterable[Trial],
    *,
    on_episode: "OnEpisode",
    open_loop_horizon: int,
    open_video: Callable[[Trial], Video | None] = lambda trial: None,
    frame_interval: int = 1,
    retries: int = 0,
    attempts: Mapping[tuple[str, int, int], int] | None = None,
    episode_timeout: float = math.inf,
    watch: "Watch" = lambda activity, episodes: nullcontext(),
    wanted: Callable[[Trial], bool] = lambda trial: True,
    measure: "Measure" = lambda actions, success: {},
    on_variant: Callable[[Variant], None] = lambda variant: None,
    on_replan: "OnReplan" = lambda trial, replan, observation: None,
) -> TimeSpent:
    """Run the trials, one variant after another.

    An exception within an episode ends only that episode, as an error: an exception raised or reported by the simulator
    or raised by the policy; actions that are not a finite (steps, dims) array of constant width, or are beyond
    ``MAX_ACTION`` or the simulator's own limit; a wall-clock time beyond ``episode_timeout``.

    Args:
        simulator: the simulator; all its slots are used.
        policy: the policy; it stays at the last variant.
        trials: the trials; trials of the same variant must follow each other.
        on_episode: called when an episode ends, with its record and its executed actions, float32 (steps, dims); also
            for every attempt that is retried.
        open_loop_horizon: number of actions of a chunk that are executed before the policy replans.
        open_video: starts the video of a trial, or returns None to record no video.
        frame_interval: control steps between two frames of a video.
        retries: how often a trial that was an error is retried, after the other trials of its variant; an error that is
            a ``LostConnection`` may say a larger number.
        attempts: number of earlier attempts at trials, by ``Trial.key``.
        episode_timeout: seconds of wall-clock time after which an unfinished episode is an error.
        watch: context around every call of the simulator and the policy, with the activity's name and the call's
            episodes; used by the watchdog to report hanging calls.
        wanted: returns whether a trial is still to run. It is called once per round; running trials that are no longer
            wanted end without a record. If a trial is not wanted, no later trial of its variant is.
        measure: returns outcomes of an episode that is over and no error, by name, from its executed actions, float32
            (steps, dims), and whether it was a success; such as ``rollout.outcomes.ActionOutcomes``.
        on_variant: called when the policy has been put into a variant, before its trials; no episode runs meanwhile.
        on_replan: called when an episode has its next chunk of actions, with its trial, the number of its earlier
            chunks, and the observation that the policy saw.

    Returns:
        The wall-clock time by activity. A record's ``total_s`` is its episode's share of it: time spent on several
        episodes at once is divided among them.

    Raises:
        UserError: the policy does not support a variant.
        StopRun: a video or the files of ``on_episode`` cannot be written, or the policy's server is gone; running
            episodes are not recorded.
    """
    rollout = _Rollout(
        simulator,
        policy,
        on_episode,
        open_loop_horizon,
        open_video,
        frame_interval,
        retries,
        Counter(attempts or {}),
        episode_timeout,
        watch,
        wanted,
        measure,
        on_variant,
        on_replan,
    )
    for variant, group in groupby(trials, key=lambda trial: trial.variant):
        rollout.run(variant, deque(group))
    return rollout.clock.stop()


OnEpisode = Callable[[EpisodeRecord, np.ndarray], None]
OnReplan = Callable[[Trial, int, dict[str, Any]], None]
Measure = Callable[[np.ndarray, bool], Mapping[str, float]]
Fault = Exception | dict[str, str] | None  # an exception, or its description by ``describe_error``
Watch = Callable[[str, "Sequence[_Episode]"], AbstractContextManager[None]]


class EpisodeTimeout(TimeoutError):
    """An episode took longer than its timeout."""

    def __str__(self) -> str:
        return super().__str__() or "a call did not return within the time limit of its episode"


class _Clock:
    """Clock that adds all time to activities, and divides it among the episodes of each activity.

    Time between two activities counts as ``rest``, for the episodes of the later activity.
    """

    def __init__(self) -> None:
        self.spent = TimeSpent()
        self._last = perf_counter()

    @contextmanager
    def __call__(self, activity: str, episodes: "Sequence[_Episode]") -> Iterator[None]:
        self._charge("rest", episodes)
        try:
            yield
        finally:
            self._charge(activity, episodes)

    def stop(self) -> TimeSpent:
        self._charge("rest", ())
        return self.spent

    def _charge(self, activity: str, episodes: "Sequence[_Episode]") -> None:
        now = perf_counter()
        elapsed, self._last = now - self._last, now
        self.spent.add(activity, elapsed)
        for episode in episodes:
            episode.spent.add(activity, elapsed / len(episodes))


@dataclass(eq=False)
class _Episode:
    """A trial in progress."""

    trial: Trial
    slot: int = -1
    video: Video | None = None
    observation: dict[str, Any] = field(default_factory=dict)
    actions: deque[np.ndarray] = field(default_factory=deque)
    executed: list[np.ndarray] = field(default_factory=list)
    replans: int = 0
    success: bool = False
    ended: bool = False
    metrics: dict[str, float] = field(default_factory=dict)
    reason: str | None = None
    phase: str | None = None
    initial_state: str | None = None
    instruction: str | None = None
    perturbation: Mapping[str, float] | None = None
    spent: TimeSpent = field(default_factory=TimeSpent)
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    began: float = field(default_factory=perf_counter)

    @property
    def steps(self) -> int:
        return len(self.executed)

    @property
    def taken(self) -> np.ndarray:
        """Return the executed actions, (steps, dims)."""
        return np.stack(self.executed) if self.executed else np.empty((0, 0), np.float32)

    @property
    def over(self) -> bool:
        return self.success or self.ended or self.steps >= self.trial.task.max_steps

    def plan(self, actions: Any, horizon: int, limit: float) -> None:
        """Set the first ``horizon`` actions of a chunk (steps, dims) as the next; their magnitude has a limit."""
        chunk = np.asarray(actions, dtype=np.float32)
        if chunk.ndim != 2 or len(chunk) < horizon or chunk.shape[1] == 0:
            raise ValueError(
                f"the policy returned actions of shape {chunk.shape}; at least {horizon} steps of a vector "
                "are needed"
            )
        if not np.isfinite(chunk).all():
            bad = np.count_nonzero(~np.isfinite(chunk))
            raise ValueError(f"the policy returned actions with {bad} of {chunk.size} values NaN or infinite")
        if self.executed and chunk.shape[1] != len(self.executed[-1]):
            raise ValueError(
                f"the policy returned actions of {chunk.shape[1]} dimensions, after {len(self.executed[-1])}"
            )
        if (most := float(np.abs(chunk[:horizon]).max())) > limit:
            raise ValueError(f"the policy returned an action of magnitude {most:.4g}; {limit:g} is the limit")
        self.actions.extend(chunk[:horizon])
        self.replans += 1

    def next_action(self) -> np.ndarray:
        """Return the action to execute now, and count it as executed."""
        action = self.actions.popleft()
        self.executed.append(action)
        return action

    def take(self, results: Mapping[int, StepResult]) -> Exception | None:
        """Take over this episode's result of a step; return the fault that it reports.

        Raises:
            TypeError: the simulator returned something else than a result for the episode.
        """
        result = results.get(self.slot) if isinstance(results, Mapping) else None
        if not isinstance(result, StepResult):
            raise TypeError(
                f"the simulator's step returned {result!r:.80} for slot {self.slot}, no StepResult"
            )
        if result.fault is not None:
            if not isinstance(result.fault, Exception):
                raise TypeError(
                    f"the simulator reports the fault {result.fault!r:.80}, which is no exception"
                )
            return result.fault
        success, over = bool(result.success), bool(result.over)
        self.add_metrics(result.metrics)
        self.success, self.ended = success, over
        return None

    def conclude(self, outcome: Any) -> None:
        """Take over what the simulator says of the whole episode.

        Raises:
            TypeError: it is no ``EpisodeOutcome``, or not made of the right types.
        """
        if not isinstance(outcome, EpisodeOutcome):
            raise TypeError(f"the simulator's outcome returned {outcome!r:.80}, no EpisodeOutcome")
        for text in (outcome.reason, outcome.phase):
            if not isinstance(text, str | None):
                raise TypeError(f"the simulator's outcome has {text!r:.80} where a word is expected")
        self.add_metrics(outcome.metrics)
        self.reason, self.phase = outcome.reason, outcome.phase

    def add_metrics(self, metrics: Mapping[str, float]) -> None:
        self.metrics.update({str(name): float(value) for name, value in metrics.items()})

    def finite_metrics(self) -> dict[str, float]:
        return {name: value for name, value in self.metrics.items() if math.isfinite(value)}

    def status(self, fault: "Fault") -> str:
        return ERROR if fault else SUCCESS if self.success else FAILURE

    def reason_of(self, status: str) -> str | None:
        return self.reason if status == FAILURE else None

    def record(self, fault: "Fault", video: str | None = None) -> EpisodeRecord:
        variant, task, seed = self.trial.variant, self.trial.task, self.trial.seed
        status = self.status(fault)
        return EpisodeRecord(
            configuration=variant.name,
            dtype=variant.dtype,
            mode=variant.mode,
            scope=variant.scope,
            task_id=task.id,
            task_key=task.key,
            task_name=task.name,
            instruction=task.instruction if self.instruction is None else self.instruction,
            episode=seed.episode,
            status=status,
            success=status == SUCCESS,
            steps=self.steps,
            max_steps=task.max_steps,
            seed=seed.seed,
            replans=self.replans,
            actions_sha256=hashlib.sha256(self.taken.astype("<f4").tobytes()).hexdigest(),
            video=video,
            sim_s=self.spent.sim,
            render_s=self.spent.render,
            infer_s=self.spent.infer,
            total_s=self.spent.total,
            started_at=self.started_at.isoformat(timespec="milliseconds"),
            error=describe_error(fault) if isinstance(fault, Exception) else fault,
            variant=dict(variant.settings) or None,
            metrics=self.finite_metrics() or None,
            initial_state_sha256=self.initial_state,
            reason=self.reason_of(status),
            phase=self.phase,
            perturbation=dict(self.perturbation or {}) or None,
        )


@dataclass
class _Rollout:
    """The state of ``run_trials``: one running episode per slot."""

    simulator: Simulator
    policy: Policy
    on_episode: OnEpisode
    horizon: int
    open_video: Callable[[Trial], Video | None]
    frame_interval: int
    retries: int
    attempts: Counter[tuple[str, int, int]]
    timeout: float
    watch: Watch
    wanted: Callable[[Trial], bool]
    measure: Measure
    on_variant: Callable[[Variant], None]
    on_replan: OnReplan
    pending: deque[Trial] = field(default_factory=deque)
    active: dict[int, _Episode] = field(default_factory=dict)
    clock: _Clock = field(default_factory=_Clock)

    def run(self, variant: Variant, pending: deque[Trial]) -> None:
        """Run the trials of one variant."""
        self.pending = pending
        try:
            with self.clock("precision", ()), foreign_code():
                self.policy.set_variant(variant)
        except UserError:
            raise
        except Exception as fault:
            for trial in pending:  # a second attempt would fail for the same reason
                episode = _Episode(trial)
                self.on_episode(episode.record(fault), episode.taken)
            return
        with self.clock("divergence", ()):
            self.on_variant(variant)
        try:
            while pending or self.active:
                self.drop_unwanted()
                for slot in range(self.simulator.num_slots):
                    while pending and slot not in self.active:
                        self.start(_Episode(pending.popleft(), slot))
                self.plan(list(self.active.values()))
                while stepping := [episode for episode in self.active.values() if episode.actions]:
                    self.step(stepping)
        finally:
            for episode in self.active.values():
                if episode.video:
                    episode.video.discard()

    def drop_unwanted(self) -> None:
        """Remove the trials that are no longer wanted, including running trials."""
        while self.pending and not self.wanted(self.pending[0]):
            self.pending.popleft()
        for episode in [one for one in self.active.values() if not self.wanted(one.trial)]:
            if episode.video:
                episode.video.discard()
            del self.active[episode.slot]

    def start(self, episode: _Episode) -> None:
        self.active[episode.slot] = episode
        try:
            with self.doing("sim", [episode]):
                self.policy.reset([episode.slot], [episode.trial.seed.policy_seed()])
                self.simulator.reset(episode.slot, episode.trial.task, episode.trial.seed)
                tell = getattr(self.simulator, "initial_state", None)
                episode.initial_state = None if tell is None else hash_of_state(tell(episode.slot))
                say = getattr(self.simulator, "instruction", None)
                said = None if say is None else say(episode.slot)
                episode.instruction = None if said is None else str(said)
                drawn = getattr(self.simulator, "perturbation", None)
                episode.perturbation = None if drawn is None else drawn(episode.slot)
            with self.clock("render", [episode]):
                episode.video = self.open_video(episode.trial)
            self.film(episode)
        except StopRun:
            raise
        except Exception as fault:
            self.finish(episode, fault)

    def plan(self, episodes: list[_Episode]) -> None:
        """Give these episodes their next chunk of actions."""
        limit = getattr(self.simulator, "max_action", MAX_ACTION)
        for episode, observation in self.together("render", self.observe, episodes):
            episode.observation = observation
        running = list(self.active.values())
        # A policy with a history must not be asked a second time because another episode's inference failed.
        alone = not getattr(self.policy, "stateless", True)
        for group in [[episode] for episode in running] if alone else [running]:
            for episode, output in self.together("infer", self.infer, group):
                try:
                    episode.plan(output["actions"], self.horizon, limit)
                except Exception as fault:
                    self.finish(episode, fault)
                else:
                    self.on_replan(episode.trial, episode.replans - 1, episode.observation)

    def observe(self, episodes: list[_Episode]) -> list[dict[str, Any]]:
        return self.simulator.observe([episode.slot for episode in episodes])

    def infer(self, episodes: list[_Episode]) -> list[dict[str, Any]]:
        shape, noise = self.policy.noise_shape, None
        if shape is not None:
            noise = np.stack([episode.trial.seed.flow_noise(episode.replans, shape) for episode in episodes])
        observations, slots = zip(*((episode.observation, episode.slot) for episode in episodes), strict=True)
        return self.policy.infer_batch(list(observations), noise, slots)

    def together(
        self, activity: str, call: Callable[[list[_Episode]], list[T]], episodes: list[_Episode]
    ) -> list[tuple[_Episode, T]]:
        """Call for all episodes at once; if this raises, call for each alone, so that only episodes that fail end."""
        if not episodes:
            return []
        try:
            with self.doing(activity, episodes):
                return list(zip(episodes, call(episodes), strict=True))
        except StopRun:
            raise
        except Exception as fault:
            if len(episodes) > 1:
                return [pair for episode in episodes for pair in self.together(activity, call, [episode])]
            self.finish(episodes[0], fault)
            return []

    def step(self, episodes: list[_Episode]) -> None:
        """Execute the next action of each episode."""
        # Copies: a simulator may change them, and they are recorded.
        actions = {episode.slot: episode.next_action().copy() for episode in episodes}
        try:
            with self.doing("sim", episodes):
                results: Mapping[int, StepResult] = self.simulator.step(actions)
        except Exception as fault:  # all of them: which ones moved is unknown
            results = dict.fromkeys(actions, StepResult(success=False, fault=fault))
        for episode in episodes:
            self.settle(episode, results)

    def settle(self, episode: _Episode, results: Mapping[int, StepResult]) -> None:
        """Record a step's result, and end the episode if it is over."""
        fault: Exception | None = None
        try:
            fault = episode.take(results)
            if fault is None:
                self.film(episode)
                self.check_time(episode)
        except Exception as error:
            fault = error
        if fault is not None or episode.over:
            self.finish(episode, fault)

    def check_time(self, episode: _Episode) -> None:
        took = perf_counter() - episode.began
        if took > self.timeout and not episode.over:
            raise EpisodeTimeout(f"the episode was not over after {took:.0f} s, {episode.steps} steps")

    @contextmanager
    def doing(self, activity: str, episodes: list[_Episode]) -> Iterator[None]:
        with self.watch(activity, episodes), self.clock(activity, episodes), foreign_code():
            yield

    def film(self, episode: _Episode) -> None:
        """Add a frame to the episode's video, if it has one and a frame is due."""
        if episode.video and (episode.steps % self.frame_interval == 0 or episode.over):
            with self.doing("render", [episode]):
                seconds = episode.steps / self.simulator.control_hz
                episode.video.add(self.simulator.frame(episode.slot), episode.steps, seconds)

    def finish(self, episode: _Episode, fault: Exception | None = None) -> None:
        """Free the slot and hand over the record."""
        fault = fault or self.conclude(episode)
        video = None
        if episode.video:
            try:
                with self.clock("render", [episode]):
                    status = episode.status(fault)
                    video = episode.video.finish(status, episode.reason_of(status))
            except StopRun:
                raise
            except Exception as error:
                fault = fault or error
        del self.active[episode.slot]
        self.attempts[episode.trial.key] += 1
        retries = max(self.retries, fault.retries) if isinstance(fault, LostConnection) else self.retries
        if fault and self.attempts[episode.trial.key] <= retries:
            self.pending.append(episode.trial)
        self.on_episode(episode.record(fault, video), episode.taken)

    def conclude(self, episode: _Episode) -> Exception | None:
        """Take over the outcomes of an episode that is over; return what was raised meanwhile."""
        try:
            with self.doing("sim", [episode]):
                episode.add_metrics(self.measure(episode.taken, episode.success))
                tell = getattr(self.simulator, "outcome", None)
                if tell is not None:
                    episode.conclude(tell(episode.slot))
        except StopRun:
            raise
        except Exception as fault:
            return fault
        return None
