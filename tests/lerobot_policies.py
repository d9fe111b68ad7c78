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

SMOLVLA = {
    "chunk_size": 8,
    "n_action_steps": 5,
    "max_state_dim": 8,
    "max_action_dim": 8,
    "resize_imgs_with_padding": (SIZE, SIZE),
    "num_vlm_layers": 2,
    "num_steps": 2,
    "tokenizer_max_length": 16,
    "load_vlm_weights": False,
}
PI0_FAST = {
    "chunk_size": 8,
    "n_action_steps": 5,
    "max_state_dim": 8,
    "max_action_dim": 8,
    "image_resolution": (SIZE, SIZE),
    "tokenizer_max_length": 24,
    "max_decoding_steps": 12,
    "fast_skip_tokens": 0,
}
SIZES = {"act": ACT, "diffusion": DIFFUSION, "smolvla": SMOLVLA, "pi0_fast": PI0_FAST}


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
        **(SIZES[kind] | change),
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


def write_vlm(folder: Path) -> Path:
    """Write what SmolVLA takes from the hub, a configuration and a processor, for a model of a few thousand weights."""
    from transformers import SmolVLMConfig, SmolVLMImageProcessor, SmolVLMProcessor, SmolVLMVideoProcessor

    roles = {
        "fake_image_token": "<fake_token_around_image>",
        "global_image_token": "<global-img>",
        "image_token": "<image>",
        "end_of_utterance_token": "<end_of_utterance>",
    }
    tokenizer = word_tokenizer(roles)
    SmolVLMProcessor(SmolVLMImageProcessor(), tokenizer, SmolVLMVideoProcessor()).save_pretrained(folder)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2}
    text = {"num_hidden_layers": 2, "num_key_value_heads": 1, "head_dim": 16, "vocab_size": len(tokenizer)}
    ids = {
        "image_token_id": tokenizer.convert_tokens_to_ids("<image>"),
        "pad_token_id": tokenizer.pad_token_id,
    }
    SmolVLMConfig(
        text_config={"model_type": "llama", **sizes, **text},
        vision_config={**sizes, "num_hidden_layers": 1, "image_size": SIZE, "patch_size": 16},
        scale_factor=2,
        **ids,
    ).save_pretrained(folder)
    return folder


def word_tokenizer(roles: dict[str, str]) -> Any:
    """Return a tokenizer of transformers' with a token a word, and with special tokens by their roles."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    special = {"unk_token": "<unk>", "pad_token": "<pad>", "bos_token": "<bos>", "eos_token": "<eos>"}
    words = [*special.values(), *roles.values(), *observation(0)["prompt"].split(), "Action", ":", "|"]
    vocabulary = {word: index for index, word in enumerate(dict.fromkeys(words))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, extra_special_tokens=roles, **special)
