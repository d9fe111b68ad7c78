"""Names of parameters: ours, openpi's PyTorch names, and LeRobot's, which are openpi's after ``model.``."""

from headless_eval.policies.pi0.config import Pi0Config

PALIGEMMA = "paligemma_with_expert.paligemma."
_VISION = f"{PALIGEMMA}model.vision_tower.vision_model."

# Beginnings of openpi's names and of the model's own; the first match counts, the rest of a name is the same.
_NAMES = (
    (f"{_VISION}embeddings.", "vision."),
    (f"{_VISION}encoder.layers.", "vision.layers."),
    (f"{_VISION}post_layernorm.", "vision.post_layernorm."),
    (f"{PALIGEMMA}model.multi_modal_projector.linear.", "image_projector."),
    (f"{PALIGEMMA}model.language_model.", "language."),
    ("paligemma_with_expert.gemma_expert.model.", "expert."),
)
_EMBEDDINGS_OF_VISION = ("patch_embedding.", "position_embedding.")
_LEROBOT = "model."


# Output heads of language models; PaliGemma's is its token embedding, which some files hold under this name only.
TIED_HEAD = f"{PALIGEMMA}lm_head.weight"
EXPERT_HEAD = "paligemma_with_expert.gemma_expert.lm_head.weight"
EMBED_TOKENS = "language.embed_tokens.weight"


def from_openpi(name: str) -> str:
    """Return our name of a parameter for openpi's or LeRobot's, or the name itself where they agree."""
    name = name.removeprefix(_LEROBOT)
    for theirs, ours in _NAMES:
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    return name


def to_openpi(name: str) -> str:
    """Return openpi's name of a parameter for ours."""
    for theirs, ours in _NAMES:
        if theirs.endswith(".embeddings.") and not name.removeprefix(ours).startswith(_EMBEDDINGS_OF_VISION):
            continue
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    return name


def is_unread(name: str, config: Pi0Config) -> bool:
    """Say whether openpi keeps this parameter (by our name) although its value has no influence on actions.

    The prefix is read for its keys and values only, so the rest of its last layer and its final norm compute
    nothing that is used; neither do the output heads.
    """
    last = f"language.layers.{config.gemma.depth - 1}."
    if name.startswith(last):
        return not name.startswith(
            (f"{last}input_layernorm.", f"{last}self_attn.k_proj.", f"{last}self_attn.v_proj.")
        )
    return name in (TIED_HEAD, EXPERT_HEAD, "language.norm.weight")
