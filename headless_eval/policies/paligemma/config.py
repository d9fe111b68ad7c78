"""The sizes of PaliGemma's parts, and of the action experts that share its language model's attention."""

from dataclasses import dataclass, fields
from typing import Any

MOST_LAYERS = 512
"""The largest depth of a model."""

_LIMITS = {
    "depth": MOST_LAYERS,
    **dict.fromkeys(("num_heads", "num_kv_heads", "head_dim"), 4096),
    **dict.fromkeys(("patch_size", "image_size"), 8192),
    **dict.fromkeys(("action_horizon", "num_steps"), 4096),
    "max_token_len": 65_536,
}
_LIMIT = 2**20


def check_sizes(config: Any) -> None:
    """Check a dataclass's whole numbers, which may come from anybody, before anything is built of these sizes.

    Raises:
        ValueError: one is no whole number, not above 0, or larger than that of any such model; the message names it.
    """
    for field in fields(config):
        value, most = getattr(config, field.name), _LIMITS.get(field.name, _LIMIT)
        if field.type is int and (type(value) is not int or not 0 < value <= most):
            raise ValueError(
                f"{field.name!r} is {value!r:.40}: it has to be a whole number from 1 to {most:,}"
            )


@dataclass(frozen=True)
class SiglipConfig:
    """Sizes of the vision tower; images are square, ``image_size`` pixels a side.

    Raises:
        ValueError: as of ``check_sizes``.
    """

    width: int
    depth: int
    mlp_dim: int
    num_heads: int
    patch_size: int
    image_size: int

    def __post_init__(self) -> None:
        check_sizes(self)

    @property
    def num_patches(self) -> int:
        """Return how many tokens one image becomes."""
        return (self.image_size // self.patch_size) ** 2


@dataclass(frozen=True)
class GemmaConfig:
    """Sizes of a Gemma transformer, the language model or the action expert.

    Raises:
        ValueError: as of ``check_sizes``.
    """

    width: int
    depth: int
    mlp_dim: int
    num_heads: int
    num_kv_heads: int
    head_dim: int

    def __post_init__(self) -> None:
        check_sizes(self)


GEMMA_2B = GemmaConfig(width=2048, depth=18, mlp_dim=16_384, num_heads=8, num_kv_heads=1, head_dim=256)
GEMMA_300M = GemmaConfig(width=1024, depth=18, mlp_dim=4096, num_heads=8, num_kv_heads=1, head_dim=256)
SIGLIP_SO400M = SiglipConfig(width=1152, depth=27, mlp_dim=4304, num_heads=16, patch_size=14, image_size=224)
