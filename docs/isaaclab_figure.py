"""Makes docs/images/isaaclab.png: each scene's first episode at seed 7 in both simulators, at the same moment.

.venv-isaaclab/bin/python docs/isaaclab_figure.py

The scripted expert's actions, from MuJoCo, are executed in both.
"""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from headless_eval.contracts.seeding import TrialSeed
from headless_eval.sims.droid import backends
from headless_eval.sims.droid.tasks import TASKS

SIZE, MARGIN, STEPS = 240, 22, 42


def main() -> None:
    """Draw it."""
    mujoco: Any = backends.mujoco(num_slots=len(TASKS), frame_size=SIZE)
    isaaclab = backends.isaaclab(num_slots=len(TASKS), frame_size=SIZE)
    for slot, task in enumerate(TASKS):
        for simulator in (mujoco, isaaclab):
            simulator.reset(slot, task, TrialSeed(7, task.id, 0))
    from headless_eval.training.expert import Expert  # imports mujoco, which the simulator does first

    experts = [Expert(mujoco._slots[slot], np.random.default_rng(0)) for slot in range(len(TASKS))]
    for _ in range(STEPS):
        actions = {slot: expert.action().astype(np.float32) for slot, expert in enumerate(experts)}
        for simulator in (mujoco, isaaclab):
            simulator.step(actions)
    rows = [
        ("MuJoCo, drawn by OpenGL", mujoco),
        ("Isaac Lab, Newton, drawn by Newton's ray tracer", isaaclab),
    ]
    picture = Image.new("RGB", (2 * SIZE * len(TASKS), len(rows) * (SIZE + MARGIN)), "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(14)
    for index, (name, simulator) in enumerate(rows):
        top = index * (SIZE + MARGIN)
        draw.text((4, top + 2), f"{name}, control step {STEPS}", "black", font)
        frames = np.concatenate([simulator.frame(slot) for slot in range(len(TASKS))], axis=1)
        picture.paste(Image.fromarray(frames), (0, top + MARGIN))
        simulator.close()
    picture.save(Path(__file__).parent / "images" / "isaaclab.png", optimize=True)


if __name__ == "__main__":
    main()
