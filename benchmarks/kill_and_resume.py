"""Test of resuming: kills a run with SIGKILL at random moments, resumes it, and compares its CSV with an unkilled run.

    python benchmarks/kill_and_resume.py [--kills 20] [--policy NAME] [--seed 0] [FOLDER]

60 episodes: 3 scenes, 10 episodes, 2 precisions. Each kill waits until a random number of further episodes (possibly
zero) is in the journal, and then up to two seconds more, so that kills hit the start, the episodes, the journal and the
end of a run. Exit status 1 if a deterministic column differs by a byte, a journalled episode is lost, or a resumed run
fails.
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

LONGEST_WAIT = 2.0  # seconds


def command(*flags: object) -> list[str]:
    return [sys.executable, "-m", "headless_eval", "run", *map(str, flags), "--quiet"]


def deterministic(folder: Path) -> bytes:
    """Return the CSV without its time columns, as bytes."""
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


def kill_and_resume(folder: Path, settings: list[object], total: int, kills: int, seed: int) -> None:
    """Run the given total of episodes to the end, killing the run the given number of times.

    Raises:
        AssertionError: a journalled episode was lost, or the run failed.
    """
    chance = random.Random(seed)
    killed, wait = 0, 0.0
    while True:
        started = (folder / "manifest.json").exists()
        flags = ["--resume", folder] if started else [*settings, "--results", folder]
        before = whole_lines(folder)
        process = subprocess.Popen(command(*flags), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        # Without episodes to wait for, the kill hits a random moment of the start.
        more = chance.randint(0, max(1, 2 * total // kills - 2)) if killed < kills else 0
        if killed < kills:
            while more and len(whole_lines(folder)) < len(before) + more and process.poll() is None:
                time.sleep(0.01)
            wait = chance.uniform(0, LONGEST_WAIT)
        try:
            _, said = process.communicate(timeout=wait if killed < kills else 600)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.communicate()
            killed += 1
            after = whole_lines(folder)
            assert after[: len(before)] == before, "a journalled episode was lost"
            print(f"kill {killed}: {len(after)} episodes journalled", flush=True)
            continue
        assert process.returncode == 0, said.decode()
        if killed >= kills:
            return


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "folder", nargs="?", type=Path, help="where the runs go; by default a temporary folder"
    )
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--policy", default="pi0-droid-tiny")
    parser.add_argument("--episodes", type=int, default=10, help="per scene")
    parser.add_argument("--videos", default="all")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments of the kills")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        # Policies without a model run at float32 only.
        dtypes = ["float32"] if arguments.policy in ("zero", "random") else ["float32", "int8"]
        settings = [
            "--policy",
            arguments.policy,
            "--episodes",
            arguments.episodes,
            "--videos",
            arguments.videos,
        ]
        settings += ["--dtypes", *dtypes]
        began = time.monotonic()
        subprocess.run(
            command(*settings, "--results", folder / "whole"), check=True, stdout=subprocess.DEVNULL
        )
        print(f"unkilled: {time.monotonic() - began:.0f} s", flush=True)
        total = 3 * arguments.episodes * len(dtypes)
        kill_and_resume(folder / "killed", settings, total, arguments.kills, arguments.seed)
        same = deterministic(folder / "whole") == deterministic(folder / "killed")
        rows = deterministic(folder / "whole").count(b"\n") - 1
        print(f"{arguments.kills} kills, {rows} episodes: {'the same CSV' if same else 'ANOTHER CSV'}")
        return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
