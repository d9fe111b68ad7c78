"""Makes docs/images/simpler.png: what the policy sees at the start of the first episode of SimplerEnv's nine tasks.

SIMPLER_ASSETS=DIR .venv-simpler/bin/python docs/simpler_figure.py

Of the three orientations of the can the standing one is shown.
"""

import textwrap
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from headless_eval.contracts.seeding import TrialSeed
from headless_eval.sims.registry import find_suite

WIDTH, HEIGHT, MARGIN, COLUMNS = 320, 240, 24, 3
SHOWN = {"simpler_bridge": (0, 1, 2, 3), "simpler_fractal": (2, 3, 4, 5, 6)}


def main() -> None:
    """Draw it."""
    pictures = []
    for suite, numbers in SHOWN.items():
        simulator = find_suite(suite).make()
        for number in numbers:
            task = simulator.tasks[number]
            simulator.reset(0, task, TrialSeed(7, task.id, 0))
            (seen,) = simulator.observe([0])
            pictures.append((seen["prompt"], Image.fromarray(seen["observation/image"])))
        simulator.close()
    rows = -(-len(pictures) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * WIDTH, rows * (HEIGHT + MARGIN)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for number, (instruction, picture) in enumerate(pictures):
        left, top = number % COLUMNS * WIDTH, number // COLUMNS * (HEIGHT + MARGIN)
        sheet.paste(picture.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS), (left, top + MARGIN))
        draw.text((left + 4, top + 4), textwrap.shorten(instruction, 44), fill="black", font=font)
    path = Path(__file__).parent / "images" / "simpler.png"
    # The rare colours count, such as the green of the cube.
    sheet.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.FLOYDSTEINBERG).save(
        path, optimize=True
    )


if __name__ == "__main__":
    main()
