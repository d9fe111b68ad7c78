"""Workloads: random inputs of a model for measurements."""

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch

from headless_eval.policies.paligemma.batch import Batch
from headless_eval.policies.paligemma.config import SiglipConfig
from headless_eval.policies.paligemma.tokenizer import slots_for


class Sizes(Protocol):
    """The sizes of a model that its inputs depend on, as families of policies name them."""

    @property
    def siglip(self) -> SiglipConfig: ...  # noqa: D102
    @property
    def vocab_size(self) -> int: ...  # noqa: D102
    @property
    def max_token_len(self) -> int: ...  # noqa: D102
    @property
    def action_horizon(self) -> int: ...  # noqa: D102
    @property
    def action_dim(self) -> int: ...  # noqa: D102


@dataclass(frozen=True)
class Workload:
    """Size of a workload: samples, images per sample, and tokens of the prompt."""

    batch: int
    views: int
    prompt_tokens: int

    def slots(self, config: Sizes) -> int:
        """Return the padded length of the prompt that the model computes."""
        return slots_for(self.prompt_tokens, config.max_token_len)

    def prefix_tokens(self, config: Sizes) -> int:
        """Return the number of tokens of a sample, of images and prompt together."""
        return self.views * config.siglip.num_patches + self.slots(config)


@dataclass(frozen=True)
class Inputs:
    """A batch of a policy's prepared inputs, on the host.

    Args:
        images: uint8 (B, h, w, 3), one array per view.
        tokens: int64 (B, slots).
        token_mask: bool (B, slots).
        state: float32 (B, state_dim).
        noise: float32 (B, horizon, action_dim).
    """

    images: tuple[np.ndarray, ...]
    tokens: np.ndarray
    token_mask: np.ndarray
    state: np.ndarray
    noise: np.ndarray

    def __len__(self) -> int:
        return len(self.tokens)

    def rows(self, start: int, stop: int) -> "Inputs":
        """Return a part of the samples."""
        now = slice(start, stop)
        parts = {name: getattr(self, name)[now] for name in ("tokens", "token_mask", "state", "noise")}
        return replace(self, images=tuple(image[now] for image in self.images), **parts)

    def arguments(self, device: torch.device) -> Batch:
        """Return the model's inputs as a policy passes them: images on the device, the rest on the host."""
        images = [
            torch.from_numpy(image).to(device).permute(0, 3, 1, 2).float() / 255 * 2 - 1
            for image in self.images
        ]
        seen = torch.ones(len(self), dtype=torch.bool)
        rest = (torch.from_numpy(part) for part in (self.tokens, self.token_mask, self.state, self.noise))
        return Batch(images, [seen] * len(images), *rest)


def random_inputs(config: Sizes, workload: Workload, seed: int = 0) -> Inputs:
    """Draw a batch; sample ``i`` is the same for every size of the batch.

    Images are coarse random patterns: rounding errors depend on the values, and cameras do not see white noise.
    """
    samples = [
        _sample(config, workload, np.random.default_rng([seed, index])) for index in range(workload.batch)
    ]
    images, *rest = zip(*samples, strict=True)
    views = tuple(np.stack(view) for view in zip(*images, strict=True))
    return Inputs(views, *(np.stack(part) for part in rest))


def coarse_picture(size: int, random: np.random.Generator) -> np.ndarray:
    """Draw a picture of coarse random blocks, uint8 (size, size, 3)."""
    coarse = 8
    block = -(-size // coarse)
    blocks = random.integers(0, 256, (coarse, coarse, 3), np.uint8)
    return blocks.repeat(block, axis=0).repeat(block, axis=1)[:size, :size]


def _sample(config: Sizes, workload: Workload, random: np.random.Generator) -> tuple:
    images = [coarse_picture(config.siglip.image_size, random) for _ in range(workload.views)]
    tokens = random.integers(0, config.vocab_size, config.max_token_len)
    mask = np.arange(config.max_token_len) < workload.prompt_tokens
    state = random.standard_normal(getattr(config, "state_dim", config.action_dim)).astype(np.float32)
    noise = random.standard_normal((config.action_horizon, config.action_dim)).astype(np.float32)
    return images, np.where(mask, tokens, 0), mask, state, noise
