"""Makes the README's figures: the scenes' picture, and a run's table and chart.

python docs/figures.py                 docs/images/scenes.png
python docs/figures.py results/RUN     also docs/images/success_rate_overall.png, and the table on stdout
"""

import shutil
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from headless_eval.report import build
from headless_eval.report.tables import markdown_table
from headless_eval.seeding import TrialSeed
from headless_eval.sims.droid.mujoco_sim import TASKS, DroidMujoco

IMAGES = Path(__file__).parent / "images"


def draw_scenes() -> None:
    """Draw the first state of each scene's first episode at seed 7, exterior above wrist camera."""
    simulator = DroidMujoco(num_slots=len(TASKS), frame_size=320)
    columns = []
    for slot, task in enumerate(TASKS):
        simulator.reset(slot, task, TrialSeed(7, task.id, 0))
        frame = simulator.frame(slot)
        columns.append(np.concatenate(np.split(frame, 2, axis=1)))
    simulator.close()
    Image.fromarray(np.concatenate(columns, axis=1)).save(IMAGES / "scenes.png", optimize=True)


if __name__ == "__main__":
    IMAGES.mkdir(exist_ok=True)
    draw_scenes()
    if len(sys.argv) > 1:
        run = Path(sys.argv[1])
        print(markdown_table(build(run)))
        shutil.copy(run / "success_rate_overall.png", IMAGES)
