"""Models, inputs and reference cases that the tests of this folder share."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from paths import GOLDEN

from headless_eval.policies.norm_stats import NormStats
from headless_eval.policies.paligemma.config import GemmaConfig, SiglipConfig
from headless_eval.policies.pi0.config import CONFIGS, Pi0Config, PolicyConfig, config_from_meta
from headless_eval.policies.pi0.model import Pi0
from headless_eval.policies.pi0.policy import Pi0Policy


@dataclass
class Golden:
    """One reference case: its folder, configuration, observations and what the reference made of them."""

    folder: Path
    meta: dict[str, Any]
    values: dict[str, np.ndarray]

    @property
    def config(self) -> PolicyConfig:
        return config_from_meta(self.meta, self.folder.name)

    @property
    def observations(self) -> list[dict[str, Any]]:
        found = []
        for index, prompt in enumerate(self.meta["prompts"]):
            start = f"{index}/obs/"
            of = {key.removeprefix(start): v for key, v in self.values.items() if key.startswith(start)}
            found.append({**of, "prompt": prompt})
        return found

    def stacked(self, key: str) -> np.ndarray:
        return np.stack([self.values[f"{index}/{key}"] for index in range(len(self.meta["prompts"]))])

    def policy(self) -> Pi0Policy:
        return Pi0Policy.from_checkpoint(self.folder / "checkpoint", self.config, GOLDEN / "tokenizer.model")


def load_golden(kind: str, name: str) -> Golden:
    folder = GOLDEN / kind / name
    if not folder.is_dir():
        pytest.skip(f"no golden data at {folder}")
    with np.load(folder / "io.npz") as values:
        return Golden(folder, json.loads((folder / "meta.json").read_text()), dict(values))


SMALL = Pi0Config(
    pi05=False,
    action_horizon=4,
    action_dim=8,
    max_token_len=12,
    discrete_state_input=False,
    num_steps=3,
    vocab_size=320,
    # Two heads for every key and value head, and a language model wider than its expert.
    gemma=GemmaConfig(width=24, depth=3, mlp_dim=32, num_heads=4, num_kv_heads=2, head_dim=8),
    expert=GemmaConfig(width=16, depth=3, mlp_dim=24, num_heads=4, num_kv_heads=2, head_dim=8),
    siglip=SiglipConfig(width=16, depth=2, mlp_dim=24, num_heads=2, patch_size=4, image_size=12),
)
SMALL_PI05 = replace(SMALL, pi05=True, discrete_state_input=True, max_token_len=60)


def randomised(config: Pi0Config, seed: int = 0) -> Pi0:
    """A model whose every parameter is random, those that training starts at zero too."""
    torch.manual_seed(seed)
    model = Pi0(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1 or not parameter.any():
                parameter.normal_(std=0.2)
    return model


@dataclass
class Batch:
    images: list[torch.Tensor]
    image_masks: list[torch.Tensor]
    tokens: torch.Tensor
    token_mask: torch.Tensor
    state: torch.Tensor
    actions: torch.Tensor
    noise: torch.Tensor

    @property
    def prefix(self):
        return self.images, self.image_masks, self.tokens, self.token_mask


def batch_for(config: Pi0Config, size: int = 3, views: int = 3, used: int = 7, seed: int = 1) -> Batch:
    """Random inputs; the last view is masked everywhere, and prompts differ in length up to ``used`` slots."""
    generator = torch.Generator().manual_seed(seed)

    def randn(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    side = config.siglip.image_size
    lengths = torch.tensor([used - row for row in range(size)])
    chunk = (config.action_horizon, config.action_dim)
    return Batch(
        images=[randn(size, 3, side, side).clamp(-1, 1) for _ in range(views)],
        image_masks=[torch.full((size,), view < views - 1) for view in range(views)],
        tokens=torch.randint(config.vocab_size, (size, config.max_token_len), generator=generator),
        token_mask=torch.arange(config.max_token_len)[None] < lengths[:, None],
        state=randn(size, config.action_dim),
        actions=randn(size, *chunk),
        noise=randn(size, *chunk),
    )


def small_config(model: Pi0Config) -> PolicyConfig:
    return replace(
        CONFIGS["pi0-droid-tiny"],
        name="small",
        model=model,
        use_quantile_norm=model.pi05,
        open_loop_horizon=2,
    )


def small_stats(dims: int = 8, seed: int = 2) -> dict[str, NormStats]:
    rng = np.random.default_rng(seed)

    def draw() -> NormStats:
        mean, std = rng.normal(size=dims), rng.uniform(0.5, 2, size=dims)
        return NormStats(mean, std, mean - 2 * std, mean + 2 * std)

    return {"state": draw(), "actions": draw()}


def droid_observation(seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        "observation/exterior_image_1_left": rng.integers(0, 256, (18, 32, 3), dtype=np.uint8),
        "observation/wrist_image_left": rng.integers(0, 256, (24, 12, 3), dtype=np.uint8),
        "observation/joint_position": rng.normal(size=7),
        "observation/gripper_position": rng.uniform(size=1),
        "prompt": "put the cube in the bowl",
    }
