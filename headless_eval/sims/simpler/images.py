"""Pictures: what is simulated in front of a photograph of the real room. NumPy only."""

from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image


@cache
def background(path: Path, size: tuple[int, int]) -> np.ndarray:
    """Return a photograph scaled to a width and height, uint8 (height, width, 3).

    SimplerEnv scales with OpenCV's bilinear filter and truncates; this gives the same pixels.
    """
    with Image.open(path) as image:
        picture = (np.asarray(image.convert("RGB"), np.float32) / np.float32(255)).astype(np.float64)
    for axis, length in ((1, size[0]), (0, size[1])):
        picture = _stretched(picture, axis, length)
    return _as_bytes(picture)


def overlaid(colour: np.ndarray, shown: np.ndarray, behind: np.ndarray) -> np.ndarray:
    """Return a rendered picture with a photograph wherever nothing of interest is seen.

    Args:
        colour: float (height, width, 3), 0 to 1 where it is in range.
        shown: bool (height, width), where the rendering stays.
        behind: uint8 (height, width, 3).
    """
    return np.where(shown[..., None], _as_bytes(colour), behind)


def _as_bytes(picture: np.ndarray) -> np.ndarray:
    return (np.clip(picture, 0.0, 1.0) * 255).astype(np.uint8)


def _stretched(picture: np.ndarray, axis: int, length: int) -> np.ndarray:
    """Return a picture scaled linearly along an axis, pixels taken as areas."""
    old = picture.shape[axis]
    if old == length:
        return picture
    place = np.clip((np.arange(length) + 0.5) * old / length - 0.5, 0.0, old - 1.0)
    low = np.floor(place).astype(int)
    share = (place - low).reshape([-1 if one == axis else 1 for one in range(picture.ndim)])
    first, second = np.take(picture, low, axis), np.take(picture, np.minimum(low + 1, old - 1), axis)
    return first + (second - first) * share
