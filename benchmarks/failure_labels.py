"""Whether the reasons of failure agree with what a person sees in the videos.

python benchmarks/failure_labels.py run FOLDER        runs about 60 episodes, most of which fail, and keeps their videos
python benchmarks/failure_labels.py compare FOLDER    compares benchmarks/failure_labels.csv with the reasons

``run`` also writes FOLDER/unlabelled.csv, a row per episode with an empty label, in an order that tells nothing. The
videos do not show the reason, so that whoever labels them decides alone. A label is ``success`` or a reason of
docs/outcomes.md. ``compare`` simulates the episodes again from their recorded actions, so that it tells of the
classifier as it is now; it exits with 1 if fewer than 55 of 60 agree.
"""

import argparse
import csv
import random
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import headless_eval
from headless_eval.contracts.simulator import EpisodeOutcome
from headless_eval.results import EpisodeRecord, RunDirectory
from headless_eval.rollout import video
from headless_eval.rollout.replay import replay
from headless_eval.sims.droid.mujoco.simulator import DroidMujoco

LABELS = Path(__file__).with_suffix(".csv")
COLUMNS = ("run", "task", "variant", "episode", "video", "label")
POLICY = "pi0-droid-tiny"
RUNS: dict[str, dict[str, Any]] = {
    "methods": {"policy": POLICY, "dtypes": ["rtn_w3a3", "duquant_w2a8", "smoothquant_w3a3"], "episodes": 6},
    "types": {"policy": POLICY, "dtypes": ["int8", "int4", "boolean"], "modes": ["both"], "episodes": 1},
    "random": {"policy": "random", "episodes": 1},
}
WANTED = 55 / 60

Key = tuple[str, str, str, int]


def run(folder: Path) -> None:
    """Run the episodes."""
    close = video.VideoWriter.close
    video.VideoWriter.close = lambda self, outcome, reason=None: close(self, outcome)  # type: ignore[method-assign]
    for name, settings in RUNS.items():
        headless_eval.evaluate(**settings, seed=99, videos="all", results=folder / name)
    rows = [
        (name, record.task_key, record.configuration, record.episode, f"{name}/{record.video}", "")
        for name, _, record in episodes(folder)
    ]
    random.Random(0).shuffle(rows)
    with open(folder / "unlabelled.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    print(f"{len(rows)} episodes in {folder}")


def episodes(folder: Path) -> Iterator[tuple[str, RunDirectory, EpisodeRecord]]:
    """Yield every episode that is no error."""
    for name in RUNS:
        directory = RunDirectory.open(folder / name)
        for record in directory.records():
            if record.status != "error":
                yield name, directory, record


def outcomes(folder: Path) -> dict[Key, EpisodeOutcome]:
    """Simulate every episode again; return what came of it."""
    simulator = DroidMujoco(num_slots=1, image_size=16, frame_size=16)
    tasks = {task.id: task for task in simulator.tasks}
    found = {}
    for name, directory, record in episodes(folder):
        actions = directory.actions(record)
        assert actions is not None, f"{name} holds no actions of {record.trial}"
        for _ in replay(simulator, tasks[record.task_id], record, actions):
            pass
        found[name, record.task_key, record.configuration, record.episode] = simulator.outcome(0)
    simulator.close()
    return found


def compare(folder: Path) -> int:
    """Print where labels and reasons differ, and how many agree; return the exit status."""
    found = outcomes(folder)
    with open(LABELS, newline="", encoding="utf-8") as file:
        labels = {
            (row["run"], row["task"], row["variant"], int(row["episode"])): row["label"]
            for row in csv.DictReader(file)
            if row["label"]
        }
    pairs = {key: (label, found[key].reason or "success") for key, label in labels.items() if key in found}
    for key, (label, reason) in pairs.items():
        if label != reason:
            print(f"{' '.join(map(str, key))}: labelled {label}, classified {reason}")
    for what, chosen in (
        ("episodes", pairs),
        ("failures", {key: one for key, one in pairs.items() if one != ("success", "success")}),
    ):
        same = sum(label == reason for label, reason in chosen.values())
        print(f"{same} of {len(chosen)} {what} agree")
    print("labels:", dict(Counter(label for label, _ in pairs.values())))
    if not pairs:
        print(f"{LABELS} has no label of an episode in {folder}")
        return 1
    return 0 if sum(label == reason for label, reason in pairs.values()) >= WANTED * len(pairs) else 1


def main() -> None:
    """Run or compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("run", "compare"))
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    sys.exit(run(arguments.folder) if arguments.what == "run" else compare(arguments.folder))


if __name__ == "__main__":
    main()
