"""What a policy is to the rest of the program: openpi's interface, with what batching and pairing need beside it.

A family's policy follows ``Policy``, and ``PreparingPolicy`` where work on an observation comes before its model.
Users may give any object with openpi's ``infer(obs)``; see ``LocalPolicy`` for what is assumed of it.
"""

from collections.abc import Hashable, Sequence
from typing import Any, Protocol

import numpy as np


class Engine(Protocol):
    """What computes a family's actions, for a model in one precision; only the policy that owns it knows of it.

    It may keep copies of the weights, so a model that enters or leaves a precision needs a new one.
    """

    @property
    def name(self) -> str:
        """Return the name by which users choose it."""
        ...

    def sample(self, prepared: Any, steps: int | None = None) -> Any:
        """Return actions for a prepared batch, which nobody but its family looks into; callable from several threads.

        Args:
            prepared: the batch.
            steps: of the flow or the decoding; by default the configuration's.
        """
        ...

    def close(self) -> None:
        """Give back what it keeps. The model stays as it is."""
        ...


class Policy(Protocol):
    """A policy in this process, as a family makes it; ``LocalPolicy`` wraps it.

    Attributes:
        robot: the name of the robot it is for, one of ``contracts.robots.ROBOTS``; None: any robot.
        open_loop_horizon: actions of a chunk that are executed before it is asked again, by default.
        image_size: side in pixels of the square pictures that its model sees.
        noise_shape: shape (horizon, action_dim) of the noise of one observation; None: it takes no noise.
        stateless: whether a reply depends on the observation and its noise alone, so that observations may be batched,
            reordered and repeated, and several threads may ask at a time. False: it keeps a history or a cache of an
            episode, is told of every episode's start, and is asked in the order of the control steps.
        libraries: distributions whose versions its replies can depend on, besides torch and NumPy; it may lack this.
    """

    @property
    def robot(self) -> str | None: ...  # noqa: D102
    @property
    def open_loop_horizon(self) -> int: ...  # noqa: D102
    @property
    def image_size(self) -> int: ...  # noqa: D102
    @property
    def noise_shape(self) -> tuple[int, ...] | None: ...  # noqa: D102
    @property
    def stateless(self) -> bool: ...  # noqa: D102

    def infer(self, obs: dict[str, Any], noise: np.ndarray | None = None) -> dict[str, Any]:
        """Return the reply to one observation: ``actions``, float32 (horizon, action_dims)."""
        ...

    def infer_batch(
        self,
        observations: Sequence[dict[str, Any]],
        noise: np.ndarray | None = None,
        slots: Sequence[int] | None = None,
    ) -> list[dict[str, Any]]:
        """Return the reply to each observation.

        Args:
            observations: with the robot's keys.
            noise: float32 (number, *noise_shape); None where it takes no noise.
            slots: which episode each observation is of: the number of the slot that the episode runs in.
        """
        ...

    def reset(self, slots: Sequence[int] | None = None) -> None:
        """Forget the episodes of these slots, where others begin; None: all episodes."""
        ...


class Prepared(Protocol):
    """What a policy makes of one observation before its model: opaque to everybody but its family."""

    @property
    def batch_key(self) -> Hashable:
        """Return what the inputs of one batch have to agree in, so that no row of it depends on the others."""
        ...


class PreparingPolicy(Policy, Protocol):
    """A policy whose observations are prepared once, before it is known which of them are computed together."""

    def prepare(self, obs: dict[str, Any]) -> Prepared:
        """Return an observation as the model takes it.

        Raises:
            UserError: a key of the observation is missing or holds something else.
        """
        ...

    def infer_prepared(
        self, inputs: Sequence[Any], noise: np.ndarray | None, slots: Sequence[int]
    ) -> list[dict[str, Any]]:
        """Return the reply to each prepared observation, computed as one batch; arguments as of ``infer_batch``.

        An input may come several times: batches are filled up by repetition where the policy is stateless.
        """
        ...


class ConcludingPolicy(PreparingPolicy, Protocol):
    """A policy whose model is stateless, but what it makes of the model's reply depends on the episode so far.

    So inputs are computed in any order and number, and replies are concluded one by one.
    """

    def conclude(self, reply: dict[str, Any], slot: int) -> dict[str, Any]:
        """Return the reply to act on: called once for every reply of ``infer_prepared``, in the order of control steps.

        Args:
            reply: as ``infer_prepared`` returned it.
            slot: the slot that its episode runs in.
        """
        ...
