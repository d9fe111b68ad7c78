"""Part of a policy that is the same for all families with PaliGemma's prefix: declarations, engine, description."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from headless_eval.contracts.policy import Engine
from headless_eval.policies.norm_stats import NormStats
from headless_eval.policies.paligemma.batch import Batch, EagerEngine
from headless_eval.policies.paligemma.tokenizer import Tokenizer


class PaliGemmaPolicy:
    """Base of a policy whose model takes a ``Batch``.

    Attributes:
        model: the model, on its device.
        config: the conventions of the model and the robot.
        norm_stats: statistics of ``state`` and ``actions``.
        tokenizer: the tokenizer of the model's training.
        engine: the present inference engine.
        execution: how the engine computes a precision, ``simulated`` or ``native``.
    """

    model: Any
    config: Any
    norm_stats: dict[str, NormStats]
    tokenizer: Tokenizer
    engine: Engine
    execution: str
    _flow_steps: int | None

    @property
    def robot(self) -> str:
        """Return the name of the policy's robot."""
        return self.config.observation

    @property
    def open_loop_horizon(self) -> int:
        """Return the number of actions of a chunk that are executed before the policy replans."""
        return self.config.open_loop_horizon

    @property
    def image_size(self) -> int:
        """Return the side of the model's images in pixels."""
        return self.config.model.siglip.image_size

    @property
    def uses_quantiles(self) -> bool:
        """Return whether quantiles normalise, and not mean and deviation."""
        return self.config.use_quantile_norm

    @property
    def noise_shape(self) -> tuple[int, int]:
        """Return (horizon, action_dim) of the noise for one observation."""
        return self.model.noise_shape

    @property
    def engine_name(self) -> str:
        """Return the name of the present engine, which is never ``auto``."""
        return self.engine.name

    def describe(self) -> dict[str, str]:
        """Return the policy's description for a run's manifest: engine, and hashes of all files but the weights."""
        statistics = hashlib.sha256()
        for name, one in sorted(self.norm_stats.items()):
            statistics.update(name.encode())
            for key, value in sorted(vars(one).items()):
                numbers = None if value is None else np.asarray(value, np.float64).tolist()
                statistics.update(f"{key} {numbers}".encode())
        return {
            "engine": self.engine_name,
            "execution": self.execution,
            "config_sha256": hashlib.sha256(repr(self.config).encode()).hexdigest(),
            "norm_stats_sha256": statistics.hexdigest(),
            "tokenizer_sha256": hashlib.sha256(self.tokenizer.model_bytes).hexdigest(),
        }

    @contextmanager
    def computed_by_module(self) -> Iterator[None]:
        """Compute by calling the model's modules within the block, so that hooks are called."""
        engine, self.engine = self.engine, EagerEngine(self.model)
        try:
            yield
        finally:
            self.engine = engine

    def sample(self, batch: Batch, flow_steps: int | None = None) -> torch.Tensor:
        """Return normalised actions, float32 (B, horizon, action_dim), computed by the present engine.

        Args:
            batch: prepared inputs.
            flow_steps: Euler steps; by default the configuration's.
        """
        actions: torch.Tensor = self.engine.sample(batch, flow_steps or self._flow_steps)
        return actions

    def infer(self, obs: dict[str, Any], noise: np.ndarray | torch.Tensor | None = None) -> dict[str, Any]:
        """Return the reply to one observation; noise is (horizon, action_dim). See ``infer_batch``."""
        return self.infer_batch([obs], None if noise is None else torch.as_tensor(noise)[None])[0]

    def infer_batch(
        self,
        observations: Sequence[dict[str, Any]],
        noise: np.ndarray | torch.Tensor | None = None,
        slots: Sequence[int] | None = None,
    ) -> list[dict[str, Any]]:
        """Return a reply to each observation; a family implements this."""
        raise NotImplementedError
