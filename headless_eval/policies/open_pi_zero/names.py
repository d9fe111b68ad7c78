"""Translation between open-pi-zero's names of parameters and the model's own names."""

from headless_eval.policies.open_pi_zero.config import OpenPiZeroConfig

_VISION = "vision_tower.vision_model."
# Beginnings of their names and of the model's own; the first match counts, the rest of a name is the same.
_NAMES = (
    (f"{_VISION}embeddings.", "vision."),
    (f"{_VISION}encoder.layers.", "vision.layers."),
    (f"{_VISION}post_layernorm.", "vision.post_layernorm."),
    ("multi_modal_projector.linear.", "image_projector."),
    ("embed_tokens.", "language.embed_tokens."),
    ("joint_model.mixtures.vlm.", "language."),
    ("joint_model.mixtures.action.", "expert."),
    ("action_encoder.linear_1.", "action_in_proj."),
    ("action_encoder.linear_2.", "action_time_mlp_in."),
    ("action_encoder.linear_3.", "action_time_mlp_out."),
    ("proprio_encoder.", "state_proj."),
    ("action_decoder.", "action_out_proj."),
)
_EMBEDDINGS_OF_VISION = ("patch_embedding.", "position_embedding.")
_COMPILED = "_orig_mod."  # what torch.compile puts before names

STATE_STREAM, ACTION_STREAM = "joint_model.mixtures.proprio.", "joint_model.mixtures.action."
"""One module under two names: the state's token runs through the action expert."""


def plain(name: str) -> str:
    """Return one of their names without what torch.compile adds to it."""
    return name.replace(_COMPILED, "")


def to_ours(name: str) -> str:
    """Return our name of a parameter for theirs, or the name itself where we have none."""
    for theirs, ours in _NAMES:
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    return name


def to_theirs(name: str) -> str:
    """Return their name of a parameter for ours."""
    for theirs, ours in _NAMES:
        if theirs.endswith(".embeddings.") and not name.removeprefix(ours).startswith(_EMBEDDINGS_OF_VISION):
            continue
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    return name


def is_unread(name: str, config: OpenPiZeroConfig) -> bool:
    """Say whether a parameter (by our name) may be stored although no action depends on it.

    The language model is read for its keys and values only, so the rest of its last layer computes nothing that is
    used; neither does a head for text.
    """
    last = f"language.layers.{config.gemma.depth - 1}."
    if name.startswith(last):
        return not name.startswith(
            (f"{last}input_layernorm.", f"{last}self_attn.k_proj.", f"{last}self_attn.v_proj.")
        )
    return name.startswith("lm_head.")
