"""Soak: many episodes that draw by EGL while CUDA computes, in one process, to see whether it aborts or hangs.

    python benchmarks/soak.py [--episodes 4500] [--gpu 0] [--slots 16] [--policy NAME] [FOLDER]

The run draws with the GPU whatever its own trial beside CUDA would say (``--render gpu``). A process that a signal ends
is counted as an abort, one that had to be replaced because a call did not return as a hang; either way the run goes on
with the next episode. Without a GPU the script says so and soaks the CPU, which tests the script and the simulator
alone. Exit status 1 if anything aborted, hung or was an error.
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from time import monotonic
from typing import Any

TASKS = 3
HANGING = "going on in a fresh process"
MOST_ABORTS = 20


def soak(folder: Path, settings: list[str]) -> dict[str, Any]:
    """Run to the end, through aborts; return how many there were, and of what kind."""
    aborts: dict[str, int] = {}
    hangs = 0
    while sum(aborts.values()) < MOST_ABORTS:
        begun = (folder / "manifest.json").exists()
        flags = ["--resume", str(folder)] if begun else [*settings, "--results", str(folder)]
        done = subprocess.run(
            [sys.executable, "-m", "headless_eval", "run", *flags, "--quiet"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        hangs += done.stderr.count(HANGING)
        if done.returncode >= 0:
            if done.returncode == 2:
                raise SystemExit(done.stderr)
            break
        name = signal.Signals(-done.returncode).name
        aborts[name] = aborts.get(name, 0) + 1
        print(f"{name} after {len(episodes(folder))} episodes; going on", flush=True)
    return {"aborts": aborts, "hangs": hangs}


def episodes(folder: Path) -> list[dict[str, Any]]:
    """Return the records of the run's journal."""
    journal = folder / "journal.jsonl"
    return [json.loads(line) for line in journal.read_bytes().splitlines()] if journal.exists() else []


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path, help="where to keep the run (default: nowhere)")
    parser.add_argument("--episodes", type=int, default=4500, help="rounded up to the number of tasks, 3")
    parser.add_argument("--gpu", type=int, default=0)
    parser.add_argument("--slots", type=int, default=16)
    parser.add_argument("--policy", default="pi0-droid-tiny")
    parser.add_argument("--timeout", type=float, default=300.0, help="seconds after which an episode hangs")
    chosen = parser.parse_args()

    import torch

    settings = ["--policy", chosen.policy, "--dtypes", "float32", "--videos", "none"]
    settings += ["--episodes", str(-(-chosen.episodes // TASKS)), "--slots", str(chosen.slots)]
    settings += ["--episode-timeout", str(chosen.timeout)]
    if torch.cuda.is_available():
        device = torch.cuda.get_device_name(chosen.gpu)
        settings += ["--gpu", str(chosen.gpu), "--render", "gpu"]
    else:
        device = "the CPU"
        print("no GPU here: this soaks the CPU, and says nothing about EGL beside CUDA", flush=True)
    with tempfile.TemporaryDirectory() as place:
        folder = chosen.folder or Path(place) / "soak"
        began = monotonic()
        counted = soak(folder, settings)
        ended = episodes(folder)
        drawn = json.loads((folder / "manifest.json").read_text("utf-8"))["simulator"].get("gl_renderer")
    errors = sum(one["status"] == "error" for one in ended)
    aborts = ", ".join(f"{number} {name}" for name, number in counted["aborts"].items()) or "0"
    print(
        f"{len(ended)} episodes in {(monotonic() - began) / 60:.1f} min on {device}, drawn by {drawn}: "
        f"aborts {aborts}, hangs {counted['hangs']}, errors {errors}"
    )
    return int(bool(counted["aborts"] or counted["hangs"] or errors))


if __name__ == "__main__":
    sys.exit(main())
