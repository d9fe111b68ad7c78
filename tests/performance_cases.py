"""Models so small that measuring them takes a moment, and reading what was measured."""

import csv
from dataclasses import replace

import torch

from headless_eval.performance.random_weights import draw_weights
from headless_eval.policies.paligemma.config import GemmaConfig, SiglipConfig
from headless_eval.policies.pi0.config import CONFIGS, PolicyConfig
from headless_eval.policies.registry import FAMILIES

CPU = torch.device("cpu")


def tiny(pi05: bool) -> PolicyConfig:
    config = CONFIGS["pi05_droid" if pi05 else "pi0_droid"]
    gemma = GemmaConfig(width=64, depth=2, mlp_dim=96, num_heads=4, num_kv_heads=1, head_dim=16)
    siglip = SiglipConfig(width=48, depth=2, mlp_dim=80, num_heads=2, patch_size=14, image_size=56)
    sizes = {"gemma": gemma, "expert": replace(gemma, width=32), "siglip": siglip, "vocab_size": 512}
    return replace(config, model=replace(config.model, num_steps=3, max_token_len=24, **sizes))


def rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def random_model(config, device, dtype):
    with torch.device("meta"):
        model = family_of(config).new_model(config)
    return draw_weights(model, device, dtype)


def family_of(config):
    return FAMILIES.find("pi0" if isinstance(config, PolicyConfig) else "open-pi-zero")
