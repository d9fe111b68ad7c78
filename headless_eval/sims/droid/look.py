"""How a scene looks: cameras, light, colours of what stands around; the same for all simulators."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from headless_eval.sims.droid.bodies import Rgb, Shape, Vec3
from headless_eval.sims.droid.tabletop import (
    EXTERIOR_CAMERA,
    FLOOR,
    LIGHT_DIRECTION,
    TABLE,
    WRIST_CAMERA,
    Camera,
)


@dataclass(frozen=True)
class Look:
    """How a scene looks; by default as it always does.

    Args:
        exterior: the exterior camera.
        wrist: the wrist camera.
        light: what all light is multiplied by, red, green and blue: lamp, ambient light and sky, so that it is the
            picture that is multiplied.
        light_direction: the direction in which the lamp shines.
        table: the table's colour.
        floor: the floor's colour.
        decoration: shapes that are only seen, in the world's frame: a pattern on the table, walls.
    """

    exterior: Camera = EXTERIOR_CAMERA
    wrist: Camera = WRIST_CAMERA
    light: Rgb = (1.0, 1.0, 1.0)
    light_direction: Vec3 = LIGHT_DIRECTION
    table: Rgb = TABLE.rgb
    floor: Rgb = FLOOR.rgb
    decoration: tuple[Shape, ...] = ()


PLAIN = Look()


def mixed(colour: Rgb, other: Rgb, share: float) -> Rgb:
    """Return a colour with a share, 0 to 1, of another."""
    red, green, blue = ((1 - share) * one + share * two for one, two in zip(colour, other, strict=True))
    return red, green, blue


def draw_colour(generator: np.random.Generator) -> Rgb:
    """Draw a colour, neither quite black nor quite white."""
    red, green, blue = (float(value) for value in generator.uniform(0.05, 0.95, 3))
    return red, green, blue


def lit(picture: np.ndarray, light: Rgb) -> np.ndarray:
    """Return a picture, uint8 (height, width, 3), under light of another brightness and colour."""
    if light == PLAIN.light:
        return picture
    table = np.clip(np.round(np.outer(light, np.arange(256))), 0, 255).astype(np.uint8)
    return np.array(Image.fromarray(picture).point(table.ravel().tolist()))
