"""Further bodies on the table, which no scene has: their shapes, sizes and colours are drawn."""

import math

import numpy as np

from headless_eval.sims.droid.bodies import Body, Rgb, Shape
from headless_eval.sims.droid.look import draw_colour


def draw(name: str, generator: np.random.Generator) -> Body:
    """Draw a body that stands on the table by itself: a block, a post, a ball on a ring, a cross, steps or a loaf."""
    kind = _KINDS[int(generator.integers(len(_KINDS)))]
    size = float(generator.uniform(0.018, 0.04))
    first, second = (draw_colour(generator) for _ in range(2))
    shapes = kind(size, first, second)
    reach = max(math.hypot(shape.pos[0], shape.pos[1]) + _radius(shape) for shape in shapes)
    return Body(name, shapes, mass=0.2, footprint=reach)


def _block(size: float, first: Rgb, second: Rgb) -> tuple[Shape, ...]:
    return (
        Shape("box", (size, 0.7 * size, size), first, (0, 0, size)),
        Shape("box", (1.01 * size, 0.71 * size, 0.2 * size), second, (0, 0, size), collides=False),
    )


def _post(size: float, first: Rgb, second: Rgb) -> tuple[Shape, ...]:
    return (
        Shape("cylinder", (size, 0.4 * size), first, (0, 0, 0.4 * size)),
        Shape("cylinder", (0.4 * size, 1.2 * size), second, (0, 0, 2 * size)),
    )


def _ball(size: float, first: Rgb, second: Rgb) -> tuple[Shape, ...]:
    return (
        Shape("cylinder", (1.1 * size, 0.3 * size), first, (0, 0, 0.3 * size)),
        Shape("sphere", (0.9 * size,), second, (0, 0, 1.2 * size)),
    )


def _cross(size: float, first: Rgb, second: Rgb) -> tuple[Shape, ...]:
    return (
        Shape("box", (1.3 * size, 0.4 * size, 0.5 * size), first, (0, 0, 0.5 * size)),
        Shape("box", (0.4 * size, 1.3 * size, 0.5 * size), second, (0, 0, 0.5 * size)),
    )


def _steps(size: float, first: Rgb, second: Rgb) -> tuple[Shape, ...]:
    return (
        Shape("box", (1.2 * size, 0.9 * size, 0.4 * size), first, (0, 0, 0.4 * size)),
        Shape("box", (0.6 * size, 0.9 * size, 0.4 * size), second, (-0.6 * size, 0, 1.2 * size)),
    )


def _loaf(size: float, first: Rgb, second: Rgb) -> tuple[Shape, ...]:
    lying = (math.sqrt(0.5), math.sqrt(0.5), 0.0, 0.0)
    return (
        Shape("box", (0.5 * size, 1.2 * size, 0.4 * size), first, (0, 0, 0.4 * size)),
        Shape("capsule", (0.5 * size, 0.8 * size), second, (0, 0, 0.8 * size), lying),
    )


_KINDS = (_block, _post, _ball, _cross, _steps, _loaf)


def _radius(shape: Shape) -> float:
    """Return a radius on the table, about the shape's position, that holds the shape."""
    if shape.kind == "box":
        return math.hypot(shape.size[0], shape.size[1])
    return shape.size[0] + (shape.size[1] if shape.kind == "capsule" else 0.0)
