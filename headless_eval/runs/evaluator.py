"""Evaluator: opens a policy and a simulator, checks that they fit, runs trials, and closes both."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict
from types import TracebackType
from typing import Any, Self

import numpy as np

from headless_eval.config.run import RunConfig
from headless_eval.contracts.robots import ROBOTS
from headless_eval.contracts.simulator import Simulator
from headless_eval.contracts.variant import Variant
from headless_eval.errors import UserError
from headless_eval.local_policy import LocalPolicy, load_policy
from headless_eval.loop import OnEpisode, TimeSpent, run_trials
from headless_eval.policies.baselines import BASELINES
from headless_eval.policies.options import LoadOptions
from headless_eval.quant.precision import Precision
from headless_eval.rollout.outcomes import ActionOutcomes
from headless_eval.rollout.trials import Trial
from headless_eval.runs.compatibility import check
from headless_eval.runs.guest import evaluating, lent
from headless_eval.runs.tasks import tasks_of
from headless_eval.shared.foreign import foreign_code
from headless_eval.sims.perturbation import AROUND, axes_of
from headless_eval.sims.perturbed import PerturbedSimulator
from headless_eval.sims.registry import Suite, find_suite, find_tasks

_log = logging.getLogger(__name__)


class Evaluator:
    """Policy and simulator of episodes; a context manager that closes what it opened.

    ``load_policy`` comes before ``start_simulator``, because the simulator renders images at the policy's input size.

    Args:
        settings: settings of a run: policy, suite, tasks, simulator, seed.
        policy: a loaded policy, which stays open at the end; by default the settings' policy is loaded.
        slots: maximal number of episodes at once; by default the settings' number, limited by the number of episodes.

    Attributes:
        settings: as given.
        suite: the settings' suite.
        tasks: the settings' tasks, under their conditions and with their limit of steps.
        policy: the policy, after ``load_policy``.
        simulator: the simulator, after ``start_simulator``.

    Raises:
        UserError: the suite or a task does not exist.
    """

    policy: LocalPolicy
    simulator: Simulator

    def __init__(
        self, settings: RunConfig, *, policy: LocalPolicy | None = None, slots: int | None = None
    ) -> None:
        self.settings = settings
        self.suite = find_suite(settings.suite)
        self.tasks = tasks_of(settings)
        most = len(self.tasks) * settings.episodes if slots is None else slots
        self._slots = min(most, settings.slots)
        self._given = policy
        self._opened = ExitStack()

    def load_policy(self) -> LocalPolicy:
        """Load the policy, or use the given policy.

        Raises:
            UserError: the policy does not exist, a file is missing or not valid, or the policy is for another robot
                than the suite's.
        """
        if self._given is not None:
            self.policy = self._opened.enter_context(lent(self._given))
        else:
            with foreign_code():
                policy = load(self.settings)
            self.policy = self._opened.enter_context(policy)
        self._opened.enter_context(evaluating(self.policy.module))
        return self.policy

    def start_simulator(self) -> Simulator:
        """Start the suite's simulator for the loaded policy.

        Raises:
            UserError: policy and suite do not fit together, or the simulator cannot run on this machine.
        """
        self._check()
        # Images at the policy's input size: rendering larger images would only cost time.
        self.simulator = self._opened.enter_context(
            open_simulator(self.suite, self.settings, self._slots_to_use(), self.policy.image_size)
        )
        self._check(self.simulator.control_hz)
        return self.simulator

    def _check(self, control_hz: float | None = None) -> None:
        policy = self.policy
        check(policy.name, policy.declared, self.suite, self.open_loop_horizon, control_hz)

    def _slots_to_use(self) -> int:
        most = self.policy.max_slots
        if most is None or self._slots <= most:
            return self._slots
        _log.warning(
            "%s keeps a history and is not told which episode an observation is of: %d episode at a time",
            self.policy.name,
            most,
        )
        return most

    @property
    def policy_was_given(self) -> bool:
        """Return whether the policy came from the caller and not from the settings."""
        return self._given is not None

    @property
    def open_loop_horizon(self) -> int:
        """Return the number of actions of a chunk that are executed before the policy replans."""
        return self.settings.open_loop_horizon or self.policy.open_loop_horizon

    @property
    def metrics(self) -> dict[str, str]:
        """Return the units of all outcomes that the records of this run can have, by name."""
        return self.action_outcomes.units | dict(getattr(self.simulator, "metrics", {}))

    @property
    def action_outcomes(self) -> ActionOutcomes:
        """Return what measures the actions of the suite's robot."""
        return ActionOutcomes(ROBOTS.find(self.suite.robot), self.simulator.control_hz)

    def rehearse(self, variants: Sequence[Variant]) -> None:
        """Warm up on a real observation, and detect errors that would break every episode.

        Args:
            variants: of the run. The last is tried, too, and all that other code than this package's computes; at the
                end the policy is as it was loaded.

        Raises:
            UserError: the policy lacks a setting of a variant, cannot use the suite's observations, returns too few
                actions, or returns actions that the suite cannot execute; or a method of other code fails.
        """
        policy, suite = self.policy, self.settings.suite
        policy.check_settings(name for one in variants for name in one.settings)
        task = self.tasks[0]
        tried = ""
        try:
            with foreign_code():
                self.simulator.reset(0, task, task.trial_seed(self.settings.seed, 0))
                (observation,) = self.simulator.observe([0])
        except UserError:
            raise
        except Exception as error:
            raise UserError(
                f"the suite {suite} cannot begin the first episode ({type(error).__name__}: {error})"
            ) from error
        try:
            with foreign_code():
                policy.warmup(observation)
                actions = self._reply(observation)
                ours = type(policy.policy).__module__.startswith("headless_eval.")
                if policy.draws or not ours or getattr(policy.policy, "elsewhere", False):
                    same = np.array_equal(actions, self._reply(observation))
                    policy.determinism = "checked" if same else "not given"
                for variant in variants:
                    if variant is variants[-1] or getattr(variant.precision, "change", None):
                        tried = f" at {variant.name}"
                        policy.set_variant(variant)
                        policy.infer(observation)
                policy.set_variant(Variant(Precision()))
        except UserError:
            raise
        except Exception as error:
            raise UserError(
                f"the policy {policy.name} cannot act on what the suite {suite} shows it{tried} "
                f"({type(error).__name__}: {error})"
            ) from error
        if len(actions) < self.open_loop_horizon:
            raise UserError(
                f"--open-loop-horizon is {self.open_loop_horizon}, but the policy {policy.name} gives "
                f"{len(actions)} actions at a time; it can be no more"
            )
        fault: Exception | None
        try:
            with foreign_code():
                fault = self.simulator.step({0: actions[0].copy()})[0].fault
        except Exception as error:
            fault = error
        if fault:
            raise UserError(
                f"the suite {suite} cannot execute the actions of the policy {policy.name} ({fault})"
            ) from fault

    def _reply(self, observation: dict[str, Any]) -> np.ndarray:
        """Return the actions (horizon, dims) at the first replan of the first trial."""
        policy, seed = self.policy, self.tasks[0].trial_seed(self.settings.seed, 0)
        policy.reset([0], [seed.policy_seed()])
        noise = None if policy.noise_shape is None else seed.flow_noise(0, policy.noise_shape)[None]
        actions: np.ndarray = policy.infer_batch([observation], noise, [0])[0]["actions"]
        return actions

    def run_trials(self, trials: Sequence[Trial], on_episode: OnEpisode, **options: Any) -> TimeSpent:
        """Run trials; ``options`` and errors as of ``loop.run_trials``."""
        return run_trials(
            self.simulator,
            self.policy,
            trials,
            on_episode=on_episode,
            open_loop_horizon=self.open_loop_horizon,
            measure=self.action_outcomes,
            **options,
        )

    def close(self) -> None:
        """Close the simulator and the policy; a given policy stays open, as it was given."""
        self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


@contextmanager
def open_simulator(suite: Suite, settings: RunConfig, num_slots: int, image_size: int) -> Iterator[Simulator]:
    """Start the simulator that a run's settings name, without a policy; closed at the end of the block.

    Args:
        suite: that of the settings.
        settings: of the run.
        num_slots: episodes at once.
        image_size: side of the policy's pictures in pixels.

    Raises:
        UserError: the simulator does not exist, or cannot run on this machine.
    """
    tasks = find_tasks(suite.load_tasks(), settings.tasks)
    around = {axis.name for condition in settings.conditions for axis in axes_of(condition)} & set(AROUND)
    try:
        with foreign_code():
            made = suite.make(settings.simulator, num_slots=num_slots, tasks=tasks, image_size=image_size)
            if around:
                made = PerturbedSimulator(made, ROBOTS.find(suite.robot), suite.load_paraphrases())
    except (UserError, MemoryError):
        raise
    except Exception as error:
        raise UserError(
            f"the simulator of the suite {suite.name} cannot start ({type(error).__name__}: {error})"
        ) from error
    with closing(made) as simulator:
        yield simulator


def load(settings: RunConfig) -> LocalPolicy:
    """Return the policy that a run's settings name.

    Raises:
        UserError: the policy does not exist, or a file is missing or not valid.
    """
    robot = settings.robot
    if robot is None and settings.checkpoint is None and settings.policy in BASELINES:
        robot = find_suite(settings.suite).robot
    options = asdict(LoadOptions.of(settings, robot=robot))
    return load_policy(settings.policy, checkpoint=settings.checkpoint, **options)
