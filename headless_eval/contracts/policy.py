"""What a policy is to the rest of the program: openpi's interface, with what batching and pairing need beside it."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np


class Policy(Protocol):
    """A policy in this process, as a family makes it; ``LocalPolicy`` wraps it, or any object with ``infer``.

    Attributes:
        robot: the name of the robot it is for, one of ``contracts.robots.ROBOTS``.
        open_loop_horizon: actions of a chunk that are executed before it is asked again, by default.
        image_size: side in pixels of the square pictures that its model sees.
        noise_shape: shape (horizon, action_dim) of the noise of one observation; None: it takes none.
        stateless: whether a reply depends on the observation and its noise alone, so that observations may be batched,
            reordered and repeated. False: it keeps a history or a cache of an episode, and is told of every episode's
            start.
        libraries: distributions whose versions its replies can depend on, besides torch and NumPy; it may lack this.
    """

    robot: str
    open_loop_horizon: int
    image_size: int
    noise_shape: tuple[int, ...] | None
    stateless: bool

    def infer(self, obs: dict[str, Any], **noise: np.ndarray) -> dict[str, Any]:
        """Return the reply to one observation: ``actions``, float32 (horizon, action_dims)."""
        ...

    def infer_batch(
        self, observations: Sequence[Any], noise: np.ndarray | None, slots: Sequence[int]
    ) -> list[dict[str, Any]]:
        """Return the reply to each observation.

        Args:
            observations: what ``prepare`` made of them; as they are where the policy has no ``prepare``.
            noise: float32 (number, *noise_shape); None where it takes none.
            slots: whose episode each observation belongs to; one number a running episode.
        """
        ...

    def reset(self, slots: Sequence[int]) -> None:
        """Forget the episodes of these slots: others begin there."""
        ...
