"""Kills a run with SIGKILL at random moments, resumes it each time, and compares its CSV with an unkilled run's.

    python benchmarks/kill_and_resume.py [--kills 20] [--policy NAME] [--seed 0] [FOLDER]

60 episodes: 3 scenes, 10 episodes, 2 precisions. A moment is drawn evenly from the time that the run needs, so
that kills hit the start, the episodes, the journal and the report alike. Exit status 1 if a deterministic column
differs by a byte, an episode that had been journalled is lost, or a resumed run does not end well.
"""

import argparse
import csv
import io
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from headless_eval.report.exports import COLUMNS

KILLS_AFTER_THE_START = 0.5  # seconds before the first kill at least, as Python itself takes to start


def command(*flags: object) -> list[str]:
    return [sys.executable, "-m", "headless_eval", "run", *map(str, flags), "--quiet"]


def deterministic(folder: Path) -> bytes:
    """Return the CSV without the columns of times, as bytes."""
    out = io.StringIO()
    with open(folder / "droid_results.csv", newline="") as file:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows([row[name] for name in COLUMNS] for row in csv.DictReader(file))
    return out.getvalue().encode()


def whole_lines(folder: Path) -> list[bytes]:
    journal = folder / "journal.jsonl"
    data = journal.read_bytes() if journal.exists() else b""
    return data[: data.rfind(b"\n") + 1].splitlines()


def kill_and_resume(
    folder: Path, kills: int, policy: str, episodes: int, videos: str, seed: int, needed: float
) -> None:
    """Run to the end with so many kills on the way.

    Raises:
        AssertionError: if a journalled episode was lost, or the run did not end well.
    """
    settings = [
        *("--policy", policy, "--episodes", episodes, "--videos", videos),
        *(("--dtypes", "float32", "int8") if policy not in ("zero", "random") else ("--dtypes", "float32")),
    ]
    chance = random.Random(seed)
    killed = 0
    while True:
        started = (folder / "manifest.json").exists()
        flags = ["--resume", folder] if started else [*settings, "--results", folder]
        before = whole_lines(folder)
        process = subprocess.Popen(command(*flags), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        moment = chance.uniform(KILLS_AFTER_THE_START, needed)
        try:
            _, said = process.communicate(timeout=moment if killed < kills else 600)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.communicate()
            killed += 1
            after = whole_lines(folder)
            assert after[: len(before)] == before, "a journalled episode was lost"
            print(f"kill {killed} after {moment:.1f} s: {len(after)} episodes journalled", flush=True)
            continue
        assert process.returncode == 0, said.decode()
        if killed >= kills:
            return
        needed = max(1.0, 0.8 * needed)  # the rest is shorter than the whole


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "folder", nargs="?", type=Path, help="where the runs go; by default a temporary folder"
    )
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--policy", default="pi0-droid-tiny")
    parser.add_argument("--episodes", type=int, default=10, help="per scene")
    parser.add_argument("--videos", default="all")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        two = (
            ["--dtypes", "float32", "int8"]
            if arguments.policy not in ("zero", "random")
            else ["--dtypes", "float32"]
        )
        flags = [
            "--policy",
            arguments.policy,
            "--episodes",
            arguments.episodes,
            "--videos",
            arguments.videos,
            *two,
        ]
        began = time.monotonic()
        subprocess.run(command(*flags, "--results", folder / "whole"), check=True, stdout=subprocess.DEVNULL)
        needed = time.monotonic() - began
        print(f"unkilled: {needed:.0f} s", flush=True)
        kill_and_resume(
            folder / "killed",
            arguments.kills,
            arguments.policy,
            arguments.episodes,
            arguments.videos,
            arguments.seed,
            # Kills must not wait for an end that resumed runs reach sooner.
            min(needed, 1.5 * needed / max(1, arguments.kills) + 6.0),
        )
        same = deterministic(folder / "whole") == deterministic(folder / "killed")
        rows = deterministic(folder / "whole").count(b"\n") - 1
        print(f"{arguments.kills} kills, {rows} episodes: {'the same CSV' if same else 'ANOTHER CSV'}")
        return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
