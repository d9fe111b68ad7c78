"""Shapes that are only seen: patterns on the table, and walls around the floor."""

import math
from collections.abc import Sequence

from headless_eval.sims.droid.bodies import Rgb, Shape
from headless_eval.sims.droid.look import mixed
from headless_eval.sims.droid.tabletop import FLOOR, FLOOR_Z, SKY, TABLE

PATTERNS = ("stripes", "checks", "dots")
_LIFT = 0.0002  # metres above the table's top: less than anything that lies on it
_HEIGHT = 2.5  # metres, of the walls


def pattern(kind: int, colour: Rgb, contrast: float, drawn: Sequence[float]) -> tuple[Shape, ...]:
    """Return a pattern on the table.

    Args:
        kind: number of one of ``PATTERNS``.
        colour: of the table.
        contrast: how much darker or, on a dark table, brighter the pattern is, 0 to 1.
        drawn: numbers from 0 to 1: period, offset, and which way stripes go.
    """
    x, y, _ = TABLE.pos
    half_x, half_y, _ = TABLE.size
    bright = sum(colour) / 3 > 0.4
    shade = mixed(colour, (0.0, 0.0, 0.0) if bright else (1.0, 1.0, 1.0), contrast)
    period = 0.22 + 0.16 * float(drawn[0])
    along = drawn[2] < 0.5 or PATTERNS[kind] != "stripes"
    places = _places(half_x, period, float(drawn[1])) if along else []
    across = _places(half_y, period, float(drawn[1])) if not along or PATTERNS[kind] != "stripes" else []
    quarter = period / 4
    if PATTERNS[kind] == "stripes":
        boxes = [(at, 0.0, quarter, half_y) for at in places] + [(0.0, at, half_x, quarter) for at in across]
    else:
        boxes = [
            (at, other, quarter, quarter)
            for row, at in enumerate(places)
            for column, other in enumerate(across)
            if PATTERNS[kind] == "dots" or (row + column) % 2
        ]
    made = []
    for at_x, at_y, box_x, box_y in boxes:
        pos = (x + at_x, y + at_y, _LIFT)
        if PATTERNS[kind] == "dots":
            made.append(Shape("cylinder", (quarter, 0.00005), shade, pos, collides=False))
        else:
            size = (min(box_x, half_x - abs(at_x)), min(box_y, half_y - abs(at_y)), 0.00005)
            made.append(Shape("box", size, shade, pos, collides=False))
    return tuple(made)


def walls(colour: Rgb, share: float) -> tuple[Shape, ...]:
    """Return walls at the floor's edges, of the horizon's colour with a share of another."""
    rgb = mixed(SKY[1], colour, share)
    half, middle = FLOOR.size[0], FLOOR_Z + _HEIGHT / 2
    far = ((-half, 0.0), (0.0, half), (0.0, -half))
    return tuple(
        Shape(
            "box",
            (0.02, half, _HEIGHT / 2) if x else (half, 0.02, _HEIGHT / 2),
            rgb,
            (x, y, middle),
            collides=False,
        )
        for x, y in far
    )


def _places(half: float, period: float, offset: float) -> list[float]:
    """Return positions one period apart within -half to half, the first by a share of a period from its end."""
    number = math.floor((2 * half - offset * period) / period)
    return [-half + (offset + index + 0.25) * period for index in range(number)]
