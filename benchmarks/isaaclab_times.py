"""Speed of Isaac Lab on the suite droid: start, physics, rendering, and simulated time relative to real time.

.venv-isaaclab/bin/python benchmarks/isaaclab_times.py [--physics newton physx] [--slots 1 4] [--seconds 20]

Simulates episodes as a run does, but without a policy: a control step moves all slots, and before every eighth step
both cameras render images of 96 x 96 pixels. Prints wall-clock time and processor time; other programs on the machine
disturb processor time less.
"""

import argparse
import itertools
import os
import subprocess
import sys
from time import perf_counter, process_time

import numpy as np

HORIZON, IMAGE = 8, 96


def measure(physics: str, slots: int, seconds: float, device: str) -> None:
    """Simulate the given number of seconds in each slot and print one line."""
    from headless_eval.contracts.seeding import TrialSeed
    from headless_eval.sims.droid.suites import DroidSettings
    from headless_eval.sims.droid.tabletop import HOME_JOINTS
    from headless_eval.sims.droid.tasks import TASKS
    from headless_eval.sims.registry import find_suite

    begin = perf_counter()
    settings = DroidSettings(sim="isaaclab", physics=physics, sim_device=device)
    simulator = find_suite("droid").make(settings, num_slots=slots, image_size=IMAGE, frame_size=IMAGE)
    for slot in range(slots):
        task = TASKS[slot % len(TASKS)]
        simulator.reset(slot, task, TrialSeed(7, task.id, slot))
    generator = np.random.default_rng(0)
    target = np.tile([*HOME_JOINTS, 0.0], (slots, 1))
    spent = {"physics": [0.0, 0.0], "render": [0.0, 0.0]}
    steps = round(seconds * simulator.control_hz)
    ready = 0.0
    for step in range(-HORIZON, steps):
        if step == 0:  # the first chunk loads and captures the kernels
            ready = perf_counter() - begin
            spent = {name: [0.0, 0.0] for name in spent}
        if step % HORIZON == 0:
            with _timed(spent["render"]):
                simulator.observe(range(slots))
        target[:, :7] += generator.normal(0, 0.02, (slots, 7))
        target[:, 7] = step // 16 % 2
        with _timed(spent["physics"]):
            simulator.step({slot: target[slot].astype(np.float32) for slot in range(slots)})
    simulator.close()
    wall = sum(times[0] for times in spent.values())
    cpu = sum(times[1] for times in spent.values())
    stepping, drawing = _each(spent["physics"], steps), _each(spent["render"], -(-steps // HORIZON))
    faster = f"{slots * seconds / wall:.1f} ({slots * seconds / cpu:.1f})"
    print(
        f"| {physics} | {slots} | {device} | {ready:.1f} s | {stepping} | {drawing} | {faster} |", flush=True
    )


class _timed:
    """Add the wall-clock seconds and processor seconds of a block to a pair."""

    def __init__(self, pair: list[float]):
        self._pair = pair

    def __enter__(self) -> None:
        self._wall, self._cpu = perf_counter(), process_time()

    def __exit__(self, *_: object) -> None:
        self._pair[0] += perf_counter() - self._wall
        self._pair[1] += process_time() - self._cpu


def _each(times: list[float], count: int) -> str:
    return f"{1000 * times[0] / count:.1f} ({1000 * times[1] / count:.1f}) ms"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--physics", nargs="+", default=["newton"], choices=["newton", "physx"])
    parser.add_argument("--slots", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--seconds", type=float, default=20.0, help="simulated, in each slot")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        measure(arguments.physics[0], arguments.one, arguments.seconds, arguments.device)
        return
    print(f"{os.cpu_count()} processor cores, load {os.getloadavg()[0]:.1f}; in brackets: processor time")
    print(
        "| physics | slots | device | ready after | a control step, all slots | two pictures, all slots | x real time |"
    )
    print("| --- | ---: | --- | ---: | ---: | ---: | ---: |", flush=True)
    for physics, slots in itertools.product(arguments.physics, arguments.slots):  # each in its own process
        flags = ["--one", str(slots), "--physics", physics]
        flags += ["--seconds", str(arguments.seconds), "--device", arguments.device]
        subprocess.run([sys.executable, __file__, *flags], check=True)


if __name__ == "__main__":
    main()
