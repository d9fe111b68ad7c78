"""Noise in what a policy is shown: blurred, compressed and grainy pictures, joint readings that are off."""

from collections.abc import Mapping
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from headless_eval.contracts.robots import Robot


class Noise:
    """The noise of one episode.

    The noise depends on the episode's generator and the number of control steps so far, not on how often the episode is
    observed. Grain is drawn once, over a larger area than a picture's, and shifted from picture to picture: drawing it
    anew would take ten times as long.

    Args:
        sizes: of the axis ``noise``.
        generator: of the episode.
    """

    def __init__(self, sizes: Mapping[str, float], generator: np.random.Generator) -> None:
        self._sizes = sizes
        self._seed = int(generator.integers(2**31))
        self._grain: dict[tuple[int, ...], np.ndarray] = {}
        self._step = 0

    def advance(self) -> None:
        """Count a control step."""
        self._step += 1

    def disturb(self, observation: dict[str, Any], robot: Robot) -> None:
        """Replace an observation's pictures and joint readings (units of radians) by noisy ones."""
        generator = np.random.default_rng([self._seed, self._step])
        for camera in robot.cameras:
            picture = observation.get(camera.key)
            if picture is not None:
                observation[camera.key] = self._picture(picture, generator)
        spread = self._sizes["joints"]
        for group in robot.state:
            if group.unit == "rad" and spread:
                reading = observation[group.key]
                off = spread * generator.standard_normal(reading.shape)
                observation[group.key] = (reading + off).astype(reading.dtype)

    def _picture(self, picture: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Return a picture, uint8 (height, width, 3), blurred, with grain, then compressed."""
        blur, loss = self._sizes["blur"], self._sizes["jpeg"]
        if blur:
            picture = np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(blur)))
        if self._sizes["pixels"]:
            height, width, _ = picture.shape
            down, across = generator.integers(height), generator.integers(width)
            grain = self._grain_for(picture.shape)[down : down + height, across : across + width]
            picture = np.clip(picture + grain, 0, 255).astype(np.uint8)
        if loss:
            file = BytesIO()
            Image.fromarray(picture).save(file, "JPEG", quality=round(100 - loss))
            picture = np.asarray(Image.open(file))
        return np.array(picture)

    def _grain_for(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return grain of twice the height and width of pictures of a shape."""
        if shape not in self._grain:
            height, width, channels = shape
            size = (2 * height, 2 * width, channels)
            drawn = np.random.default_rng([self._seed, *shape]).standard_normal(size, dtype=np.float32)
            self._grain[shape] = np.round(self._sizes["pixels"] * drawn).astype(np.int16)
        return self._grain[shape]
