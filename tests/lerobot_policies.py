"""Small policies of LeRobot with random weights, written by LeRobot itself."""

import json
from pathlib import Path
from typing import Any

import numpy as np

SIZE = 64
CAMERAS = ("observation.images.exterior_image_1_left", "observation.images.wrist_image_left")
ACT = {
    "chunk_size": 8,
    "n_action_steps": 5,
    "dim_model": 32,
    "n_heads": 2,
    "dim_feedforward": 64,
    "n_encoder_layers": 1,
    "n_decoder_layers": 1,
    "use_vae": False,
    "pretrained_backbone_weights": None,
}
DIFFUSION = {
    "horizon": 8,
    "n_action_steps": 4,
    "down_dims": (16, 32),
    "kernel_size": 3,
    "n_groups": 4,
    "diffusion_step_embed_dim": 16,
    "spatial_softmax_num_keypoints": 4,
    "num_train_timesteps": 3,
    "pretrained_backbone_weights": None,
    "crop_shape": None,
}


def stated(kind: str = "act", **change: Any) -> dict[str, Any]:
    """Return the parts of a ``config.json`` that this package reads."""
    return {
        "type": kind,
        "input_features": {
            **{name: {"type": "VISUAL", "shape": [3, SIZE, SIZE]} for name in CAMERAS},
            "observation.state": {"type": "STATE", "shape": [8]},
        },
        "output_features": {"action": {"type": "ACTION", "shape": [8]}},
        **change,
    }


def write_stated(folder: Path, rename: dict[str, str] | None = None, **change: Any) -> Path:
    """Write a folder as LeRobot's, without weights."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(stated(**change)))
    steps = [{"registry_name": "rename_observations_processor", "config": {"rename_map": rename or {}}}]
    (folder / "policy_preprocessor.json").write_text(json.dumps({"name": "before", "steps": steps}))
    (folder / "policy_postprocessor.json").write_text(json.dumps({"name": "after", "steps": []}))
    return folder


def write_policy(folder: Path, kind: str = "act", **change: Any) -> Path:
    """Write a policy with random weights and made-up statistics, as LeRobot writes it."""
    import torch
    from lerobot.configs import FeatureType, PolicyFeature
    from lerobot.policies import get_policy_class, make_policy_config, make_pre_post_processors

    torch.manual_seed(0)
    features = stated()["input_features"]
    config = make_policy_config(
        kind,
        input_features={
            name: PolicyFeature(FeatureType[of["type"]], tuple(of["shape"])) for name, of in features.items()
        },
        output_features={"action": PolicyFeature(FeatureType.ACTION, (8,))},
        device="cpu",
        **({"act": ACT, "diffusion": DIFFUSION}[kind] | change),
    )
    policy = get_policy_class(kind)(config)
    random = np.random.default_rng(0)
    stats = {
        name: {
            "mean": random.normal(size=8),
            "std": random.uniform(0.5, 2, 8),
            "min": np.full(8, -2),
            "max": np.full(8, 2),
        }
        for name in ("observation.state", "action")
    }
    of_pictures = {"mean": 0.5, "std": 0.25, "min": 0.0, "max": 1.0}
    stats |= {
        name: {key: np.full((3, 1, 1), value) for key, value in of_pictures.items()} for name in CAMERAS
    }
    stats = {
        name: {key: torch.tensor(value, dtype=torch.float32) for key, value in of.items()}
        for name, of in stats.items()
    }
    policy.save_pretrained(folder)
    for processor in make_pre_post_processors(config, dataset_stats=stats):
        processor.save_pretrained(folder)
    return folder


def observation(seed: int, size: int = SIZE) -> dict[str, Any]:
    """Return an observation of the robot droid, random."""
    random = np.random.default_rng(seed)
    return {
        "observation/exterior_image_1_left": random.integers(0, 256, (size, size, 3), np.uint8),
        "observation/wrist_image_left": random.integers(0, 256, (size, size, 3), np.uint8),
        "observation/joint_position": random.normal(size=7).astype(np.float32),
        "observation/gripper_position": random.uniform(size=1).astype(np.float32),
        "prompt": "put the cube in the bowl",
    }
