"""What the outcomes of an episode cost: the share of a run's time that is spent on them.

python benchmarks/outcomes_cost.py [--episodes 10] [--dtypes float32 int4]

Runs the bundled policy on the three scenes in MuJoCo, without videos, and adds up the processor time spent in reading
contacts, and in the outcomes of simulator and actions when an episode ends, beside that of all episodes. Other
programs on the machine disturb processor time less than wall-clock time.
"""

import argparse
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from time import process_time, thread_time
from typing import Any

import headless_eval
from headless_eval.rollout.outcomes import ActionOutcomes
from headless_eval.runs.evaluator import Evaluator
from headless_eval.sims.droid.mujoco.contacts import Contacts
from headless_eval.sims.droid.outcomes import Watch

spent: Counter[str] = Counter()


def timed(owner: type, name: str, label: str, clock: Callable[[], float] = thread_time) -> None:
    """Add the time in a method to ``spent``."""
    inner: Callable[..., Any] = getattr(owner, name)

    def outer(*arguments: Any, **options: Any) -> Any:
        began = clock()
        try:
            return inner(*arguments, **options)
        finally:
            spent[label] += clock() - began

    setattr(owner, name, outer)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, default=10)
    parser.add_argument("--dtypes", nargs="+", default=["float32", "int4"])
    arguments = parser.parse_args()
    timed(Contacts, "of", "contacts")
    timed(Watch, "outcome", "outcome of the simulator")
    timed(ActionOutcomes, "__call__", "outcome of the actions")
    timed(Evaluator, "run_trials", "all", process_time)
    with tempfile.TemporaryDirectory() as folder:
        headless_eval.evaluate(
            "pi0-droid-tiny",
            dtypes=arguments.dtypes,
            modes=["both"],
            episodes=arguments.episodes,
            videos="none",
            quiet=True,
            results=Path(folder) / "run",
        )
    total = spent.pop("all")
    for label, seconds in spent.items():
        print(f"{label}: {seconds:.2f} s, {100 * seconds / total:.2f} %")
    print(f"together {100 * spent.total() / total:.2f} % of {total:.0f} s")


if __name__ == "__main__":
    main()
