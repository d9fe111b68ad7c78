"""Models and reference cases that the tests of this folder share."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from paths import GOLDEN

from headless_eval.policies.norm_stats import NormStats
from headless_eval.policies.open_pi_zero.config import CONFIGS, OpenPiZeroConfig, PolicyConfig
from headless_eval.policies.open_pi_zero.formats import find_norm_stats, load_model
from headless_eval.policies.open_pi_zero.model import OpenPiZero
from headless_eval.policies.open_pi_zero.policy import OpenPiZeroPolicy
from headless_eval.policies.paligemma.config import GemmaConfig, SiglipConfig
from headless_eval.policies.paligemma.tokenizer import Tokenizer

REFERENCE = GOLDEN / "open_pi_zero"
CPU = torch.device("cpu")


def tiny_config(said: dict[str, Any]) -> OpenPiZeroConfig:
    """The sizes of a reference case from open-pi-zero's own configuration."""
    joint, vision = said["joint"]["config"], said["vision"]["config"]
    attention = {
        "depth": joint["num_hidden_layers"],
        "num_heads": joint["num_attention_heads"],
        "num_kv_heads": joint["num_key_value_heads"],
        "head_dim": joint["head_dim"],
    }
    vlm, action = (
        GemmaConfig(width=of["hidden_size"], mlp_dim=of["intermediate_size"], **attention)
        for of in (said["mixture"]["vlm"], said["mixture"]["action"])
    )
    return OpenPiZeroConfig(
        gemma=vlm,
        expert=action,
        siglip=SiglipConfig(
            width=vision["hidden_size"],
            depth=vision["num_hidden_layers"],
            mlp_dim=vision["intermediate_size"],
            num_heads=vision["num_attention_heads"],
            patch_size=vision["patch_size"],
            image_size=vision["image_size"],
        ),
        state_dim=said["proprio_dim"],
        max_token_len=said["max_image_text_tokens"] - vision["num_image_tokens"],
        vocab_size=said["vocab_size"],
        expert_rope_theta=said["action_expert_rope_theta"],
        time_max_period=said["time_max_period"],
    )


@dataclass
class Case:
    """One reference case: its configuration, inputs, and what open-pi-zero made of them."""

    folder: Path
    config: PolicyConfig
    inputs: dict[str, Any]
    outputs: dict[str, torch.Tensor]

    def model(self) -> OpenPiZero:
        return load_model(self.config, self.folder / "checkpoint.pt", CPU, torch.float32)


def load_case(name: str) -> Case:
    folder = REFERENCE / name
    if not folder.is_dir():
        pytest.skip(f"no golden data at {folder}")
    sizes = tiny_config(json.loads((folder / "config.json").read_text()))
    with np.load(folder / "inputs.npz") as stored:
        raw = {key: torch.from_numpy(value) for key, value in stored.items()}
    with np.load(folder / "outputs.npz") as stored:
        outputs = {key: torch.from_numpy(value) for key, value in stored.items()}
    patches = sizes.siglip.num_patches
    inputs = {
        "images": raw["images_uint8"].float() / 255 * 2 - 1,
        "tokens": raw["input_ids"][:, patches:],
        "token_mask": raw["attention_mask"][:, patches:].bool(),
        "state": raw["proprios"][:, 0],
        "noise": raw["noise"],
        "actions": raw["train_actions"],
        "time": raw["train_t"],
        "train_noise": raw["train_x0"],
    }
    config = replace(CONFIGS[f"open_pi_zero_{name}"], model=sizes)
    return Case(folder, config, inputs, outputs)


def relative_error(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """The largest difference as a share of the largest reference value."""
    assert ours.shape == theirs.shape
    return float((ours - theirs).abs().max() / theirs.abs().max())


def plain_stats(config: PolicyConfig) -> dict[str, NormStats]:
    dims = {"state": config.model.state_dim, "actions": config.model.action_dim}
    return {kind: NormStats(np.zeros(n), np.ones(n), -np.ones(n), np.ones(n)) for kind, n in dims.items()}


SMALL = OpenPiZeroConfig(
    gemma=GemmaConfig(width=24, depth=3, mlp_dim=32, num_heads=4, num_kv_heads=2, head_dim=8),
    expert=GemmaConfig(width=16, depth=3, mlp_dim=24, num_heads=4, num_kv_heads=2, head_dim=8),
    siglip=SiglipConfig(width=16, depth=2, mlp_dim=24, num_heads=2, patch_size=4, image_size=12),
    state_dim=7,
    vocab_size=320,
)


def small_policy(robot: str, tokenizer: Tokenizer, *, published: bool = False) -> OpenPiZeroPolicy:
    """A policy with random weights; with the published data set's statistics, or plain ones."""
    name = "bridge" if robot == "widowx" else "fractal"
    sizes = replace(SMALL, state_dim=7 if robot == "widowx" else 8)
    config = replace(CONFIGS[f"open_pi_zero_{name}"], model=sizes)
    torch.manual_seed(0)
    stats = find_norm_stats(Path(), config) if published else plain_stats(config)
    return OpenPiZeroPolicy(OpenPiZero(sizes), config, stats, tokenizer)
