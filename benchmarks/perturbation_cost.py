"""What a perturbation costs: processor time of an observation and of a reset, beside the plain task's.

python benchmarks/perturbation_cost.py [--level 3] [--observations 40]
"""

import argparse
from time import process_time

from headless_eval.contracts.robots import ROBOTS
from headless_eval.sims.perturbation import AXES, perturbed
from headless_eval.sims.perturbed import PerturbedSimulator
from headless_eval.sims.registry import find_suite


def main() -> None:
    """Print a row per axis; rounds of the plain task and of each axis alternate, and the least of each counts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--level", type=int, default=3)
    parser.add_argument("--observations", type=int, default=40)
    given = parser.parse_args()
    suite = find_suite("droid")
    simulator = PerturbedSimulator(suite.make(), ROBOTS.find(suite.robot), suite.load_paraphrases())
    plain = suite.load_tasks()[0]
    tasks = {"plain": plain} | {axis: perturbed(plain, ((axis, given.level),)) for axis in AXES}
    resets: dict[str, list[float]] = {name: [] for name in tasks}
    looks: dict[str, list[float]] = {name: [] for name in tasks}
    for episode in range(6):
        for name, task in tasks.items():
            began = process_time()
            simulator.reset(0, task, task.trial_seed(7, episode))
            resets[name].append(process_time() - began)
            simulator.observe([0])
            began = process_time()
            for _ in range(given.observations):
                simulator.observe([0])
            looks[name].append((process_time() - began) / given.observations)
    for name in tasks:
        look, least = 1000 * min(looks[name]), 1000 * min(looks["plain"])
        print(f"{name:12} observation {look:6.2f} ms ({100 * (look / least - 1):+5.1f} %), "
              f"reset {1000 * min(resets[name]):5.1f} ms")  # fmt: skip
    simulator.close()


if __name__ == "__main__":
    main()
