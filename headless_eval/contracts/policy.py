"""Interfaces of policies and engines: openpi's interface, with additions for batching and paired noise.

A family's policy follows ``Policy``, or ``PreparingPolicy`` if it prepares observations before the model. Users may
also use any object with openpi's ``infer(obs)``; ``LocalPolicy`` documents the assumptions about such objects.
"""

from collections.abc import Hashable, Sequence
from typing import Any, Protocol

import numpy as np


class Engine(Protocol):
    """An inference engine of a family, for a model in one precision; only the policy that owns it uses it.

    An engine may keep copies of the weights, so a model that enters or leaves a precision needs a new engine.
    """

    @property
    def name(self) -> str:
        """Return the engine's name for users."""
        ...

    def sample(self, prepared: Any, steps: int | None = None) -> Any:
        """Return actions for a prepared batch, whose content only its family knows; callable from several threads.

        Args:
            prepared: the batch.
            steps: steps of the flow or the decoding; by default the configuration's.
        """
        ...

    def close(self) -> None:
        """Free the engine's memory. The model is not changed."""
        ...


class Policy(Protocol):
    """A policy of a family, in this process; ``LocalPolicy`` wraps it.

    Attributes:
        robot: the name of the policy's robot, one of ``contracts.robots.ROBOTS``; None: any robot.
        open_loop_horizon: default number of actions of a chunk that are executed before the policy replans.
        image_size: side of the model's square images in pixels.
        noise_shape: shape (horizon, action_dim) of the noise of one observation; None: the policy takes no noise.
        stateless: whether a reply depends only on the observation and its noise, so that observations may be batched,
            reordered and repeated. False: the policy keeps a history or a cache of an
            episode, learns of every episode's start from ``reset``, and infers in the order of the control steps.
        concurrent: optional: whether a stateless policy may be asked from several threads at a time; by default only a
            ``PreparingPolicy`` may.
        libraries: optional: distributions whose versions replies can depend on, besides torch and NumPy.
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
            observations: observations with the robot's keys.
            noise: float32 (number, *noise_shape); None if the policy takes no noise.
            slots: the number of the slot in which each observation's episode runs.
        """
        ...

    def reset(self, slots: Sequence[int] | None = None) -> None:
        """Begin new episodes in these slots; None: in all slots."""
        ...


class Prepared(Protocol):
    """A prepared input of a policy's model, whose content only its family knows."""

    @property
    def batch_key(self) -> Hashable:
        """Return a key that is equal for inputs that may share a batch, so that no row depends on the other rows."""
        ...


class PreparingPolicy(Policy, Protocol):
    """A policy that prepares each observation once, before batches are formed."""

    def prepare(self, obs: dict[str, Any]) -> Prepared:
        """Return the prepared input of an observation.

        Raises:
            UserError: a key of the observation is missing or its value is malformed.
        """
        ...

    def infer_prepared(
        self, inputs: Sequence[Any], noise: np.ndarray | None, slots: Sequence[int]
    ) -> list[dict[str, Any]]:
        """Return the reply to each prepared observation, computed as one batch; the arguments are those of
        ``infer_batch``.

        An input may occur several times: batches of stateless policies are padded by repetition.
        """
        ...


class ConcludingPolicy(PreparingPolicy, Protocol):
    """A policy with a stateless model, whose final reply also depends on the episode so far.

    Inputs are computed in any order and number; then ``conclude`` is called for each reply in order.
    """

    def conclude(self, reply: dict[str, Any], slot: int) -> dict[str, Any]:
        """Return the final reply; called once for every reply of ``infer_prepared``, in the order of control steps.

        Args:
            reply: a reply of ``infer_prepared``.
            slot: the slot in which the reply's episode runs.
        """
        ...
