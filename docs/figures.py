"""Figures of the README: the image of the scenes, and the table of a run's success by dtype and mode.

python docs/figures.py                 docs/images/scenes.png
python docs/figures.py results/RUN     also the table, on stdout
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from headless_eval.contracts.seeding import TrialSeed
from headless_eval.errors import UserError
from headless_eval.quant.precision import MODES
from headless_eval.report import build
from headless_eval.report.summary import Summary
from headless_eval.sims.droid import backends
from headless_eval.sims.droid.tasks import TASKS

IMAGES = Path(__file__).parent / "images"


def draw_scenes() -> None:
    """Render the first state of each scene's first episode at seed 7, exterior camera above wrist camera."""
    simulator = backends.mujoco(num_slots=len(TASKS), frame_size=320)
    columns = []
    for slot, task in enumerate(TASKS):
        simulator.reset(slot, task, TrialSeed(7, task.id, 0))
        frame = simulator.frame(slot)
        columns.append(np.concatenate(np.split(frame, 2, axis=1)))
    simulator.close()
    Image.fromarray(np.concatenate(columns, axis=1)).save(IMAGES / "scenes.png", optimize=True)


def table(summary: Summary) -> str:
    """Return a Markdown table of success by dtype and mode: successes/episodes, over all tasks."""
    cells: dict[str, dict[str, str]] = {}
    for row in summary.overall:
        text = f"{row.successes}/{row.episodes}" + (f" + {row.errors} errors" if row.errors else "")
        row_cells = cells.setdefault(row.dtype, {})
        for mode in MODES if row.configuration == "float32" else (row.mode,):
            row_cells[mode] = text
    lines = ["| dtype | " + " | ".join(MODES) + " |", "| --- |" + " ---: |" * len(MODES)]
    lines += [
        f"| {dtype} | " + " | ".join(by_mode.get(mode, "") for mode in MODES) + " |"
        for dtype, by_mode in cells.items()
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, nargs="?", metavar="RUN", help="folder of a run")
    run = parser.parse_args().run
    IMAGES.mkdir(exist_ok=True)
    draw_scenes()
    if run is not None:
        try:
            print(table(build(run)))
        except UserError as error:
            parser.error(str(error))
