"""Makes docs/images/isaaclab.png: each scene's first episode at seed 7 in every simulator, at the same moment.

.venv-isaaclab/bin/python docs/isaaclab_figure.py

The scripted expert's actions, from MuJoCo, are executed in all of them; it needs Isaac Lab with PhysX.
"""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from headless_eval.contracts.seeding import TrialSeed
from headless_eval.sims.droid.suites import DroidSettings
from headless_eval.sims.droid.tasks import TASKS
from headless_eval.sims.registry import find_suite

SIZE, MARGIN, STEPS = 240, 22, 42
SLOTS = range(len(TASKS))
ROWS = (
    ("MuJoCo, drawn by OpenGL", DroidSettings(sim="mujoco")),
    ("Isaac Lab, Newton, drawn by Newton's ray tracer", DroidSettings(sim="isaaclab")),
    ("Isaac Lab, PhysX, drawn by Newton's ray tracer", DroidSettings(sim="isaaclab", physics="physx")),
)


def main() -> None:
    """Draw it."""
    picture = Image.new("RGB", (2 * SIZE * len(TASKS), len(ROWS) * (SIZE + MARGIN)), "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(14)
    plan: list[dict[int, np.ndarray]] = []
    for index, (name, settings) in enumerate(ROWS):
        simulator: Any = find_suite("droid").make(settings, num_slots=len(TASKS), frame_size=SIZE)
        for slot, task in enumerate(TASKS):
            simulator.reset(slot, task, TrialSeed(7, task.id, 0))
        if plan:
            for actions in plan:
                simulator.step(actions)
        else:
            plan = demonstrate(simulator)
        top = index * (SIZE + MARGIN)
        draw.text((4, top + 2), f"{name}, control step {STEPS}", "black", font)
        frames = np.concatenate([simulator.frame(slot) for slot in SLOTS], axis=1)
        picture.paste(Image.fromarray(frames), (0, top + MARGIN))
        simulator.close()
    picture.save(Path(__file__).parent / "images" / "isaaclab.png", optimize=True)


def demonstrate(mujoco: Any) -> list[dict[int, np.ndarray]]:
    """Let the expert act in MuJoCo and return its actions by slot, a dictionary for each control step."""
    from headless_eval.training.expert import Expert  # imports mujoco, which the simulator does first

    experts = [Expert(mujoco._slots[slot], np.random.default_rng(0)) for slot in SLOTS]
    plan = []
    for _ in range(STEPS):
        plan.append({slot: experts[slot].action().astype(np.float32) for slot in SLOTS})
        mujoco.step(plan[-1])
    return plan


if __name__ == "__main__":
    main()
