"""LeRobot's folders, written from reference cases."""

import json

import torch
from safetensors.torch import load_file, save_file

from headless_eval.policies.norm_stats import read_norm_stats

PREPROCESSOR = "policy_preprocessor_step_5_normalizer_processor.safetensors"
POSTPROCESSOR = "policy_postprocessor_step_0_unnormalizer_processor.safetensors"


def lerobot_config(pi05: bool, actions: int = 8) -> dict:
    mode = "QUANTILES" if pi05 else "MEAN_STD"
    return {
        "type": "pi05" if pi05 else "pi0",
        "n_obs_steps": 1,
        "input_features": {
            "observation.images.base_0_rgb": {"type": "VISUAL", "shape": [3, 224, 224]},
            "observation.state": {"type": "STATE", "shape": [8]},
        },
        "output_features": {"action": {"type": "ACTION", "shape": [actions]}},
        "normalization_mapping": {"VISUAL": "IDENTITY", "STATE": mode, "ACTION": mode},
        "paligemma_variant": "gemma_2b",
        "action_expert_variant": "gemma_300m",
        "chunk_size": 50,
        "n_action_steps": 10,
        "max_state_dim": 32,
        "max_action_dim": 32,
        "num_inference_steps": 10,
        "image_resolution": [224, 224],
        "tokenizer_max_length": 200 if pi05 else 48,
    }


def write_lerobot(case, folder):
    """Write a reference case as LeRobot would."""
    folder.mkdir(parents=True)
    source = case.folder / "checkpoint"
    state = load_file(source / "model.safetensors")
    save_file({f"model.{name}": value for name, value in state.items()}, folder / "model.safetensors")
    stats = read_norm_stats(source / "assets" / case.config.asset_id / "norm_stats.json")
    flat = {
        f"{feature}.{name}": torch.from_numpy(getattr(stats[kind], name)).float()
        for feature, kind in (("observation.state", "state"), ("action", "actions"))
        for name in ("mean", "std", "q01", "q99")
    }
    flat["observation.images.base_0_rgb.mean"] = torch.zeros(3, 1, 1)
    for file in (PREPROCESSOR, POSTPROCESSOR):
        save_file(flat, folder / file)
    config = lerobot_config(case.config.model.pi05, case.config.action_dims)
    (folder / "config.json").write_text(json.dumps(config))
    return folder
