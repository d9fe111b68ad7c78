"""What the scripted expert reaches on the graded tasks: success, steps, errors, and the time a demonstration costs.

python benchmarks/graded_expert.py                            every task, 40 episodes each
python benchmarks/graded_expert.py --tasks insert_2mm --episodes 200

Prints a Markdown table. Nothing is drawn; times are CPU seconds of this process. *Disturbed* is success under bursts of
offsets to the joints' targets, some of which open the gripper (``DISTURBED``).
"""

import argparse
from collections.abc import Mapping, Sequence
from time import process_time

import numpy as np

from headless_eval.contracts.seeding import TrialSeed
from headless_eval.sims import gl
from headless_eval.sims.droid.precise.scenes import SCENES
from headless_eval.sims.droid.tabletop import MAX_STEPS
from headless_eval.sims.registry import find_suite, find_tasks
from headless_eval.training.disturbance import Bursts, Disturbance

gl.choose_backend()
# These import mujoco, which loads OpenGL.
from headless_eval.sims.droid.mujoco.simulator import SceneModel, Slot  # noqa: E402
from headless_eval.training.precise_demonstrations import expert_of  # noqa: E402

SEED = 20261125
# Radians.
DISTURBED = Bursts(axes=7, start=0.03, steps=(2, 8), std=0.05, jitter_std=0.003, drops=0.1, clean=0.0)
QUIET = Bursts(axes=7, start=0.0, steps=(1, 1), std=0.0, jitter_std=0.0, clean=1.0)
SHOWN = {
    "final_error_mm": "error, mm",
    "final_error_deg": "error, degrees",
    "largest_tilt_deg": "tilt, degrees",
}


def run(slot: Slot, episodes: int, bursts: Bursts) -> tuple[list[int], list[Mapping[str, float]]]:
    """Let the expert act; return the steps of its successes, and every episode's measures."""
    scene, steps, measures = slot.scene_model.scene, [], []
    for episode in range(episodes):
        seed = TrialSeed(SEED, scene.id, episode)
        slot.reset(scene.draw(seed.initial_state()))
        generator = np.random.default_rng(seed.policy_seed())
        expert, disturbance = expert_of(slot, generator), Disturbance(bursts, generator)
        for step in range(1, MAX_STEPS + 1):
            if slot.step(disturbance.apply(expert.action())[0]):
                steps.append(step)
                break
        assert slot.tracker is not None
        measures.append(slot.tracker.measures())
    return steps, measures


def percentiles(values: Sequence[float]) -> str:
    """Return median and 90th percentile as text."""
    return "{:.2f}, {:.2f}".format(*np.percentile(values, (50, 90))) if values else ""


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tasks", nargs="+", default=[], metavar="TASK")
    parser.add_argument("--episodes", type=int, default=40, metavar="N")
    options = parser.parse_args()
    wanted = {task.id for task in find_tasks(find_suite("droid_precise").load_tasks(), options.tasks)}
    head = ("task", "success", "disturbed", "steps", *(f"{text} (median, 90 %)" for text in SHOWN.values()))
    print("| " + " | ".join((*head, "CPU s an episode")) + " |")
    print("|---|" + "---:|" * len(head))
    for scene in SCENES:
        if scene.id not in wanted:
            continue
        slot = Slot(SceneModel(scene))
        began = process_time()
        steps, measures = run(slot, options.episodes, QUIET)
        seconds = (process_time() - began) / options.episodes
        disturbed, _ = run(slot, options.episodes, DISTURBED)
        cells = [
            f"`{scene.key}`",
            f"{len(steps)}/{options.episodes}",
            f"{len(disturbed)}/{options.episodes}",
            f"{np.median(steps):.0f}" if steps else "",
            *(percentiles([one[name] for one in measures if name in one]) for name in SHOWN),
            f"{seconds:.2f}",
        ]
        print("| " + " | ".join(cells) + " |", flush=True)
