"""A batch of prepared inputs, as models with PaliGemma's prefix take it, and the engine that samples from it."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor


class Batch(NamedTuple):
    """Inputs of B observations; tensors are on the host or on the model's device.

    Args:
        images: of each camera view, float32 (B, 3, height, width) in -1 to 1.
        image_masks: of each view, bool (B,): whether there is a picture.
        tokens: of the prompt, int64 (B, slots).
        token_mask: bool (B, slots): which slots are filled.
        state: normalised and padded, float32 (B, action_dim).
        noise: what the flow starts from, float32 (B, horizon, action_dim).
    """

    images: Sequence[Tensor]
    image_masks: Sequence[Tensor]
    tokens: Tensor
    token_mask: Tensor
    state: Tensor
    noise: Tensor


class BatchEngine:
    """An engine whose prepared inputs are a ``Batch``; see ``contracts.policy.Engine``."""

    sample_actions: Any

    def sample(self, prepared: Batch, steps: int | None = None) -> Tensor:
        """Return normalised actions, float32 (B, horizon, action_dim), after so many flow steps."""
        actions: Tensor = self.sample_actions(*prepared, num_steps=steps)
        return actions


class EagerEngine(BatchEngine):
    """The model itself as an engine, the reference for all others: hooks on its modules see every output."""

    name = "eager"

    def __init__(self, model: Any):
        self.sample_actions = model.sample_actions

    def close(self) -> None:
        """Do nothing: the engine keeps nothing."""
