"""Reading of a robot's observation, with errors that name missing or malformed entries."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from headless_eval.errors import UserError


def _get(obs: Mapping[str, Any], key: str) -> Any:
    if key not in obs:
        raise UserError(f"the observation has no {key!r}: this policy needs it")
    return obs[key]


def read_image(obs: Mapping[str, Any], key: str) -> np.ndarray:
    """Return an image of an observation, uint8 (height, width, 3).

    Raises:
        UserError: the key is missing, or its value is not such an image.
    """
    image = np.asarray(_get(obs, key))
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise UserError(
            f"the observation's {key!r} is {image.dtype} {image.shape}: give uint8 (height, width, 3)"
        )
    return image


def read_vector(obs: Mapping[str, Any], key: str, dims: int) -> np.ndarray:
    """Return a vector of an observation, finite, float64 (dims,).

    Raises:
        UserError: the key is missing, or its value is not a finite vector of this length.
    """
    try:
        vector = np.asarray(_get(obs, key), dtype=np.float64).reshape(-1)
    except (TypeError, ValueError):
        raise UserError(f"the observation's {key!r} is no vector of numbers") from None
    if len(vector) != dims:
        raise UserError(f"the observation's {key!r} has {len(vector)} numbers, not {dims}")
    if not np.isfinite(vector).all():
        raise UserError(f"the observation's {key!r} holds NaN or infinity")
    return vector


def read_prompt(obs: Mapping[str, Any]) -> str:
    """Return an observation's instruction.

    Raises:
        UserError: the key ``prompt`` is missing, or its value is not a string.
    """
    prompt = _get(obs, "prompt")
    if isinstance(prompt, np.ndarray) and prompt.ndim == 0:
        prompt = prompt.item()
    if not isinstance(prompt, str):
        raise UserError(f"the observation's 'prompt' is {type(prompt).__name__}, not a string")
    return prompt
