"""Evidence about a policy on a suite: the first observations of a few episodes, and the policy's replies to them."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from headless_eval.contracts.robots import ROBOTS, Robot
from headless_eval.contracts.simulator import Simulator, Task
from headless_eval.contracts.variant import Variant
from headless_eval.local_policy import LocalPolicy
from headless_eval.policies.norm_stats import NormStats
from headless_eval.quant.precision import Precision
from headless_eval.rollout.trials import make_trials
from headless_eval.sims.registry import Suite

EPISODES = 3
"""Episodes that are looked at, of as many tasks as there are: enough to tell a convention from a coincidence."""


class Evidence:
    """What can be seen of a policy in this process, before an evaluation.

    Args:
        policy: the policy.
        suite: the suite.
        simulator: of the suite, started for the tasks.
        tasks: tasks of the suite.
        open_loop_horizon: actions of a chunk that a run would execute.
        seed: of the episodes.

    Attributes:
        robot: the suite's robot.
        trials: ``EPISODES`` episodes.
        observations: the first observation of each.
    """

    def __init__(
        self,
        policy: LocalPolicy,
        suite: Suite,
        simulator: Simulator,
        tasks: Sequence[Task],
        open_loop_horizon: int,
        seed: int = 7,
    ) -> None:
        self.policy, self.suite, self.simulator = policy, suite, simulator
        self.open_loop_horizon = open_loop_horizon
        self.robot: Robot = ROBOTS.find(suite.robot)
        tasks = tasks[:EPISODES]
        trials = make_trials([Variant(Precision())], tasks, -(-EPISODES // len(tasks)), seed)
        self.trials = sorted(trials, key=lambda trial: trial.seed.episode)[:EPISODES]
        self.observations: list[dict[str, Any]] = []
        for trial in self.trials:
            simulator.reset(0, trial.task, trial.seed)
            self.observations += simulator.observe([0])

    def replies_to(self, observations: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """Return the chunks, float64 (number, horizon, dims), with the same noise and seeds at every call."""
        policy, chunks = self.policy, []
        for trial, obs in zip(self.trials, observations, strict=True):
            policy.reset([0], [trial.seed.policy_seed()])
            shape = policy.noise_shape
            noise = None if shape is None else trial.seed.flow_noise(0, shape)[None]
            chunks.append(np.asarray(policy.infer_batch([dict(obs)], noise, [0])[0]["actions"], np.float64))
        return np.stack(chunks)

    @cached_property
    def replies(self) -> np.ndarray:
        """The chunks that answer ``observations``."""
        return self.replies_to(self.observations)

    def group_of_state(self, obs: Mapping[str, Any]) -> np.ndarray:
        """Return the robot's whole state in an observation, float64 (state_dims,)."""
        return np.concatenate([np.ravel(obs[group.key]) for group in self.robot.state]).astype(np.float64)

    # What the policy keeps beside its weights; policies of other code may keep it under the same names.

    @property
    def state_stats(self) -> NormStats | None:
        """The normalisation statistics of the state; None: the policy does not show them."""
        return self._stats("state")

    @property
    def action_stats(self) -> NormStats | None:
        """The normalisation statistics of the actions; None: the policy does not show them."""
        return self._stats("actions")

    @property
    def uses_quantiles(self) -> bool | None:
        """Whether the policy normalises by quantiles; None: it does not say."""
        found = getattr(self.policy.policy, "uses_quantiles", None)
        return None if found is None else bool(found)

    @property
    def relative_mask(self) -> np.ndarray:
        """For each action dimension whether the policy adds the state to it, bool (action_dims,)."""
        mask = np.zeros(self.robot.action_dims, bool)
        given = getattr(self.policy.config, "delta_actions_mask", None) or ()
        mask[: len(given)] = given
        return mask

    def state_numbers(self, obs: Mapping[str, Any]) -> np.ndarray:
        """Return the state as the statistics count it, float64 (dims,)."""
        own = getattr(self.policy.policy, "state_numbers", None)
        numbers: np.ndarray = own(obs) if callable(own) else self.group_of_state(obs)
        return numbers

    def _stats(self, kind: str) -> NormStats | None:
        table = getattr(self.policy.policy, "norm_stats", None)
        found = table.get(kind) if isinstance(table, Mapping) else None
        return found if isinstance(found, NormStats) else None
