"""Input and output transforms of π0: composable steps from an observation to the model and from its output to actions.

Each step maps a dict to a new dict. Before the model the dict holds ``images``
(view name to uint8 (height, width, 3)), ``state`` float64 (dims,), and ``prompt``; then also ``tokens`` and
``token_mask``. After the model it holds ``actions`` float64 (horizon, dims) and the ``state`` observed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from headless_eval.contracts.robots import Robot
from headless_eval.policies.norm_stats import NormStats
from headless_eval.policies.observations import read_image, read_prompt, read_vector
from headless_eval.policies.paligemma.tokenizer import Tokenizer

Transform = Callable[[dict[str, Any]], dict[str, Any]]


def compose(steps: Sequence[Transform], data: dict[str, Any]) -> dict[str, Any]:
    """Apply the steps in their order."""
    for step in steps:
        data = step(data)
    return data


@dataclass(frozen=True)
class RobotInputs:
    """Read the images of a robot's cameras and the numbers of its state groups.

    Raises:
        UserError: a key is missing or its value is malformed; the message names the key.
    """

    robot: Robot

    def __call__(self, obs: Mapping[str, Any]) -> dict[str, Any]:
        """Read an observation."""
        return {
            "images": {view: read_image(obs, key) for view, key in self.robot.images.items()},
            "state": np.concatenate([read_vector(obs, group.key, group.dims) for group in self.robot.state]),
            "prompt": read_prompt(obs),
        }


@dataclass(frozen=True)
class ResizeImages:
    """Resize every image to ``size`` x ``size`` with ``resize_with_pad``."""

    size: int

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        """Replace ``images``."""
        images = {view: resize_with_pad(image, self.size) for view, image in data["images"].items()}
        return {**data, "images": images}


@dataclass(frozen=True)
class NormalizeState:
    """Normalise the state by its statistics."""

    stats: NormStats
    use_quantiles: bool

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        """Replace ``state``."""
        return {**data, "state": self.stats.normalize(data["state"], self.use_quantiles)}


@dataclass(frozen=True)
class TokenizePrompt:
    """Tokenize and pad the prompt, with the normalised state as text if the model reads the state there."""

    tokenizer: Tokenizer
    slots: int
    with_state: bool

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        """Add ``tokens`` and ``token_mask``."""
        state = data["state"] if self.with_state else None
        tokens, mask = self.tokenizer.slots(data["prompt"], state, self.slots)
        return {**data, "tokens": tokens, "token_mask": mask}


@dataclass(frozen=True)
class PadState:
    """Pad the state with zeros to the model's action dimension."""

    dims: int

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        """Replace ``state``."""
        state = np.zeros(self.dims)
        state[: len(data["state"])] = data["state"]
        return {**data, "state": state}


@dataclass(frozen=True)
class UnnormalizeActions:
    """Drop the padding of the action dimensions and undo their normalisation."""

    stats: NormStats
    use_quantiles: bool
    dims: int

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        """Replace ``actions``."""
        actions = self.stats.unnormalize(data["actions"][:, : self.dims], self.use_quantiles)
        return {**data, "actions": actions}


@dataclass(frozen=True)
class AbsoluteActions:
    """Add the observed state to the action dimensions predicted relative to it."""

    mask: tuple[bool, ...]

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        """Replace ``actions``."""
        dims = len(self.mask)
        actions = data["actions"].copy()
        actions[:, :dims] += np.where(self.mask, data["state"][:dims], 0)
        return {**data, "actions": actions}


def resize_with_pad(image: np.ndarray, size: int) -> np.ndarray:
    """Scale an image uint8 (height, width, 3) to fit a square of this size, centred on black; bilinear."""
    height, width = image.shape[:2]
    if height == width == size:
        return image
    ratio = max(height, width) / size
    inner = max(1, int(width / ratio)), max(1, int(height / ratio))
    scaled = np.asarray(Image.fromarray(image).resize(inner, Image.Resampling.BILINEAR))
    padded = np.zeros((size, size, 3), np.uint8)
    top, left = (size - inner[1]) // 2, (size - inner[0]) // 2
    padded[top : top + inner[1], left : left + inner[0]] = scaled
    return padded
