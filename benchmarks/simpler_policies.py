"""Success of the small policies in open-pi-zero's architecture: uniform against beta flow times, and by precision.

python benchmarks/simpler_policies.py run FOLDER [--jobs 2] [--episodes 100] [--policies DIR] [--robot widowx]
python benchmarks/simpler_policies.py table FOLDER

``run`` evaluates carrot on plate, stack cube, and pick coke can in three orientations. Both policies of a robot run at
float32, that with beta times at the other precisions too. Several processes share the work: each runs one task at one
precision with a seed of its own. What is finished in FOLDER is kept. Needs SimplerEnv's assets ($SIMPLER_ASSETS) and
``.venv-simpler``. ``table`` prints both tables in Markdown; episodes are paired by seed, task and episode.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from headless_eval.report.statistics import mcnemar_exact, wilson_interval
from headless_eval.results import RunDirectory

ROOT = Path(__file__).resolve().parents[1]
PRECISIONS = {
    "float32": "float32",
    "bfloat16_both": "bfloat16",
    "float8_e4m3_both": "float8_e4m3",
    "int8_both": "int8",
    "int4_both": "int4",
}
PAIRS = {
    "widowx": ("open-pi-zero-tiny-uniform", "open-pi-zero-tiny-beta"),
    "google_robot": ("open-pi-zero-tiny-fractal-uniform", "open-pi-zero-tiny-fractal-beta"),
}
# A column of the tables: the robot, the suite, its tasks, and the most episodes of a process.
COLUMNS = {
    "Carrot on plate": ("widowx", "simpler_bridge", (0,), 25),
    "Stack cube": ("widowx", "simpler_bridge", (2,), 25),
    "Pick coke can": ("google_robot", "simpler_fractal", (0, 1, 2), 17),
}
FIRST_SEED = 7
Key = tuple[int, int, int]  # seed, task, episode


@dataclass(frozen=True)
class Job:
    """A process: some episodes of a task, by a policy at a precision."""

    policy: str
    precision: str
    suite: str
    task: int
    seed: int
    episodes: int

    def folder(self, root: Path) -> Path:
        return root / self.policy / self.precision / f"{self.suite}_task_{self.task}_seed_{self.seed}"


def jobs(episodes: int, robot: str | None) -> Iterator[Job]:
    """Yield what is to be run, float32 first: at least ``episodes`` episodes a column, policy and precision."""
    for precision in PRECISIONS:
        for kind, suite, tasks, most in COLUMNS.values():
            if robot not in (None, kind):
                continue
            each = -(-episodes // len(tasks))
            count = -(-each // most)
            for policy in PAIRS[kind] if precision == "float32" else PAIRS[kind][1:]:
                for task in tasks:
                    for number in range(count):
                        yield Job(policy, precision, suite, task, FIRST_SEED + number, -(-each // count))


def run(
    root: Path, episodes: int, workers: int, policies: Path | None, robot: str | None, flags: list[str]
) -> int:
    """Run the jobs that are not finished; returns how many failed."""

    def one(job: Job) -> bool:
        folder = job.folder(root)
        resumed = False
        if (manifest := folder / "manifest.json").exists():
            if '"status": "finished"' in manifest.read_text(encoding="utf-8"):
                return True
            resumed = True
        policy = job.policy if policies is None else str(policies / job.policy)
        command = [sys.executable, "-m", "headless_eval", "run"]
        if resumed:
            command += ["--resume", str(folder), "--quiet"]
        else:
            command += ["--policy", policy, "--suite", job.suite, "--tasks", str(job.task)]
            command += ["--episodes", str(job.episodes), "--seed", str(job.seed)]
            command += ["--dtypes", PRECISIONS[job.precision], "--modes", "both", "--baseline", job.precision]
            command += ["--videos", "none", "--results", str(folder), "--quiet", *flags]
        return subprocess.run(command, stdout=subprocess.DEVNULL, cwd=ROOT).returncode == 0

    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(one, jobs(episodes, robot))).count(False)


def outcomes(root: Path, column: str, policy: str, precision: str) -> dict[Key, bool]:
    """Return success by episode; errors are left out."""
    _, suite, tasks, _ = COLUMNS[column]
    found: dict[Key, bool] = {}
    for task in tasks:
        for path in sorted((root / policy / precision).glob(f"{suite}_task_{task}_seed_*")):
            for record in RunDirectory.open(path).records():
                if record.status != "error":
                    found[record.seed, record.task_id, record.episode] = record.success
    return found


def cell(found: dict[Key, bool], than: dict[Key, bool] | None = None) -> str:
    """Return successes of episodes with the interval after Wilson, and McNemar's exact p against ``than``."""
    if not found:
        return "not run"
    successes, number = sum(found.values()), len(found)
    low, high = wilson_interval(successes, number)
    text = f"{successes}/{number} ({100 * low:.0f} to {100 * high:.0f} %)"
    if than is None:
        return text
    pairs = [(than[key], success) for key, success in found.items() if key in than]
    p = mcnemar_exact(pairs.count((True, False)), pairs.count((False, True)))
    return f"{text}, p {'< 0.001' if p < 0.001 else f'= {p:.3f}'}"


def table(root: Path) -> str:
    """Return both tables as Markdown."""
    head = f" | {' | '.join(COLUMNS)} |\n|---{'|---' * len(COLUMNS)}|"
    pairs = {column: PAIRS[robot] for column, (robot, *_) in COLUMNS.items()}
    exact = {
        column: [outcomes(root, column, policy, "float32") for policy in pair]
        for column, pair in pairs.items()
    }
    lines = [f"| flow times in training{head}"]
    lines.append("| uniform | " + " | ".join(cell(uniform) for uniform, _ in exact.values()) + " |")
    lines.append("| beta | " + " | ".join(cell(beta, uniform) for uniform, beta in exact.values()) + " |")
    lines += ["", f"| precision, beta{head}"]
    for precision in PRECISIONS:
        cells = []
        for column, (_, policy) in pairs.items():
            than = None if precision == "float32" else exact[column][1]
            cells.append(cell(outcomes(root, column, policy, precision), than))
        lines.append(f"| {precision} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("run", "table"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time")
    parser.add_argument("--episodes", type=int, default=100, help="episodes of each column, or slightly more")
    parser.add_argument(
        "--policies", type=Path, help="folder that holds the policies; by default the bundled ones"
    )
    parser.add_argument("--robot", choices=tuple(PAIRS), help="only this robot's tasks")
    arguments, flags = parser.parse_known_args()
    if arguments.what == "table":
        print(table(arguments.folder))
        return 0
    root, policies = arguments.folder.resolve(), arguments.policies and arguments.policies.resolve()
    failed = run(root, arguments.episodes, arguments.jobs, policies, arguments.robot, flags)
    if failed:
        print(f"{failed} runs failed", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
