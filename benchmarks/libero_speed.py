"""Time of a control step: LIBERO's own environment compared with this project's adapter, in one process.

.venv-libero/bin/python benchmarks/libero_speed.py                          100 steps of libero_object's task 0
.venv-libero/bin/python benchmarks/libero_speed.py --suite libero_spatial --task 3 --steps 200

Both execute the same actions from the same initial state, alternating in stretches of 10 steps, so that other programs
on the machine slow both equally:

bare            the package's environment as in openpi's evaluation: two 256 x 256 images at every step
bare, blind     the same without cameras
adapter, blind  this project's simulator without images
adapter, policy images at every fifth step, for a policy that replans after 5 actions
adapter, video  the same, and a frame every fourth step (5 per second), as `headless-eval run` does by default

Times are wall-clock; `cpu` is the processor time of all the process's threads, which other programs disturb less.
"""

import argparse
import os
import platform
import time
from collections import defaultdict
from pathlib import Path

import numpy as np

from headless_eval.contracts.seeding import TrialSeed
from headless_eval.sims.libero.environment import SETTLING_ACTION, SETTLING_STEPS
from headless_eval.sims.libero.suites import LiberoSettings
from headless_eval.sims.registry import find_suite

REPLAN, FRAME = 5, 4
STRETCH = 10


class Bare:
    """The package's environment."""

    def __init__(self, simulator, task, seed, cameras):
        package = simulator._package
        problem = str(package.problem(simulator.suite, task.name))
        envs = package.environments
        size = {"camera_heights": 256, "camera_widths": 256}
        off = {"use_camera_obs": False, "has_offscreen_renderer": False}
        make = envs.OffScreenRenderEnv if cameras else envs.env_wrapper.ControlEnv
        self._env = make(bddl_file_name=problem, **(size if cameras else off))
        self._env.seed(seed.environment_seed())
        self._env.reset()
        self._env.set_init_state(simulator._slots[0]._states[seed.episode])
        for _ in range(SETTLING_STEPS):
            self._env.step(list(SETTLING_ACTION))

    def run(self, step, action):
        self._env.step(action)

    def state(self):
        return self._env.sim.data.qpos.copy()

    def close(self):
        self._env.env.sim._render_context_offscreen = None
        self._env.close()


class Adapter:
    """A slot of this project's simulator."""

    def __init__(self, simulator, slot, task, seed, looks, films):
        self._simulator, self._slot, self._looks, self._films = simulator, slot, looks, films
        simulator.reset(slot, task, seed)

    def run(self, step, action):
        if self._looks and step % REPLAN == 0:
            self._simulator.observe([self._slot])
        result = self._simulator.step({self._slot: action})[self._slot]
        assert result.fault is None
        if self._films and (step + 1) % FRAME == 0:
            self._simulator.frame(self._slot)

    def state(self):
        return self._simulator._slots[self._slot].data.qpos.copy()

    def close(self):
        pass


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--suite", default="libero_object")
    parser.add_argument("--task", type=int, default=0)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--assets", type=Path, default=os.environ.get("LIBERO_ASSETS"))
    flags = parser.parse_args()
    suite = find_suite(flags.suite)
    simulator = suite.make(LiberoSettings(libero_assets=flags.assets), num_slots=3)
    task, seed = simulator.tasks[flags.task], TrialSeed(7, flags.task, 0)
    contestants = {
        "adapter, blind": Adapter(simulator, 0, task, seed, looks=False, films=False),
        "adapter, policy": Adapter(simulator, 1, task, seed, looks=True, films=False),
        "adapter, video": Adapter(simulator, 2, task, seed, looks=True, films=True),
        "bare": Bare(simulator, task, seed, cameras=True),
        "bare, blind": Bare(simulator, task, seed, cameras=False),
    }
    actions = np.random.default_rng(0).uniform(-1, 1, (flags.steps + STRETCH, 7)).astype(np.float32)
    wall, cpu = defaultdict(float), defaultdict(float)
    for first in range(0, len(actions), STRETCH):
        for name, contestant in contestants.items():
            before = time.perf_counter(), time.process_time()
            for step in range(first, min(first + STRETCH, len(actions))):
                contestant.run(step, actions[step])
            if first:  # the first stretch warms up
                wall[name] += time.perf_counter() - before[0]
                cpu[name] += time.process_time() - before[1]
    states = [contestant.state() for contestant in contestants.values()]
    same = all(np.array_equal(states[0], state) for state in states[1:])
    print(
        f"{flags.suite} task {flags.task}, {flags.steps} steps, {os.cpu_count()} x {platform.processor() or 'CPU'}"
    )
    print(f"final positions of all five: {'the same to the last bit' if same else 'DIFFERENT'}")
    print(f"{'':16} {'ms a step':>10} {'cpu ms':>8} {'of bare':>8} {'of blind':>9} {'times faster':>13}")
    for name in ("bare", "adapter, video", "adapter, policy", "bare, blind", "adapter, blind"):
        share, blind = wall[name] / wall["bare"], wall[name] / wall["bare, blind"]
        print(
            f"{name:16} {wall[name] / flags.steps * 1e3:10.1f} {cpu[name] / flags.steps * 1e3:8.1f} {share:8.2f} "
            f"{blind:9.2f} {1 / share:13.1f}"
        )
    for contestant in contestants.values():
        contestant.close()
    simulator.close()


if __name__ == "__main__":
    main()
