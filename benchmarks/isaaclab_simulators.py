"""The same policy and precisions in MuJoCo, Newton and PhysX: success by scene, with one line for each precision.

python benchmarks/isaaclab_simulators.py run FOLDER [--episodes 100] [--light 0.6] [--only physx]
python benchmarks/isaaclab_simulators.py table FOLDER ... [--figure FILE]

``run`` makes one run folder for each simulator, of the bundled policy at seed 7, with ``.venv`` (MuJoCo) and
``.venv-isaaclab`` (Isaac Lab, with PhysX: ``PHYSICS=physx SIM=isaaclab SETUP_ONLY=1 scripts/run_headless.sh``).
``--light`` multiplies all pictures (``run --perturb light=x0.6``), and leaves everything else as it is.
``table`` prints a table in Markdown for each folder, with McNemar's exact test of each precision against float32 in
the same simulator, and draws the folders beside each other.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
SIMULATORS = {
    "MuJoCo": (".venv", ["--sim", "mujoco"]),
    "Newton": (".venv-isaaclab", ["--sim", "isaaclab", "--physics", "newton"]),
    "PhysX": (".venv-isaaclab", ["--sim", "isaaclab", "--physics", "physx"]),
}
Rate = tuple[float, float, float]  # success, and its interval's ends
PRECISIONS = {"float32": "float32", "int8_both": "int8", "int4_both": "int4"}


def run(folder: Path, episodes: int, seed: int, light: float, only: str | None, venvs: Path) -> None:
    """Run the simulators one after the other."""
    for name, (venv, flags) in SIMULATORS.items():
        if only and name.lower() != only.lower():
            continue
        command = [str(venvs / venv / "bin" / "python"), "-m", "headless_eval", "run", *flags]
        command += ["--perturb", f"light=x{light:g}"] if light != 1 else []
        command += ["--episodes", str(episodes), "--seed", str(seed), "--dtypes", *PRECISIONS.values()]
        command += ["--modes", "both", "--videos", "none", "--results", str(folder / name.lower()), "--quiet"]
        subprocess.run(command, check=True)


def outcomes(folder: Path) -> dict[str, dict[tuple[int, int], bool]]:
    """Return whether each episode succeeded, by precision, scene and number."""
    from headless_eval.results import RunDirectory

    found: dict[str, dict[tuple[int, int], bool]] = {name: {} for name in PRECISIONS}
    for record in RunDirectory.open(folder).records():
        scene = int(record.task_key.partition("@")[0].removeprefix("scene_"))
        found[record.configuration][scene, record.episode] = bool(record.success)
    return found


def table(folder: Path) -> dict[tuple[str, str], Rate]:
    """Print the table of the runs in a folder; return success with its interval, by simulator and precision."""
    from headless_eval.report.statistics import mcnemar_exact, wilson_interval

    rates: dict[tuple[str, str], Rate] = {}
    print(
        "| simulator | precision | scene 1 | scene 2 | scene 3 | all (95 % Wilson) | lost, gained | McNemar p |"
    )
    print("|---|---|---:|---:|---:|---:|---:|---:|")
    for name in SIMULATORS:
        if not (folder / name.lower()).is_dir():
            continue
        found = outcomes(folder / name.lower())
        base = found["float32"]
        for precision, done in found.items():
            if not done:
                continue
            low, high = wilson_interval(sum(done.values()), len(done))
            rates[name, precision] = sum(done.values()) / len(done), low, high
            scenes = [[done[key] for key in done if key[0] == scene] for scene in (1, 2, 3)]
            cells = [f"{sum(scene)} of {len(scene)}" for scene in scenes]
            cells += [f"{sum(done.values())} of {len(done)} ({100 * low:.0f} to {100 * high:.0f} %)"]
            lost = sum(base[key] and not done[key] for key in done)
            gained = sum(done[key] and not base[key] for key in done)
            cells += ["", ""] if done is base else [f"{lost}, {gained}", f"{mcnemar_exact(lost, gained):.2g}"]
            print(f"| {name} | {precision} | {' | '.join(cells)} |")
    return rates


def draw(panels: dict[str, dict[tuple[str, str], Rate]], figure: Path) -> None:
    """Draw success with its interval: a panel for each folder, a group of bars for each precision."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    canvas, grid = pyplot.subplots(
        1, len(panels), figsize=(4 * len(panels), 3), sharey=True, squeeze=False, layout="constrained"
    )
    for axes, (title, rates) in zip(grid[0], panels.items(), strict=True):
        for index, name in enumerate(SIMULATORS):
            shown = [
                (place, rates[name, key]) for place, key in enumerate(PRECISIONS) if (name, key) in rates
            ]
            if not shown:
                continue
            places = [place + 0.27 * (index - 1) for place, _ in shown]
            values = np.array([rate for _, rate in shown])
            errors = np.clip([values[:, 0] - values[:, 1], values[:, 2] - values[:, 0]], 0, None)
            axes.bar(places, values[:, 0], 0.25, yerr=errors, capsize=3, label=name)
        axes.set_xticks(range(len(PRECISIONS)), [name.replace("_", " ") for name in PRECISIONS])
        axes.set(ylim=(0, 1.03), title=title)
    grid[0][0].set_ylabel("success")
    grid[0][0].legend(loc="lower left")
    canvas.savefig(figure, dpi=120)


def main() -> int:
    """Parse the arguments and do it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    actions = parser.add_subparsers(dest="action", required=True)
    runs = actions.add_parser("run")
    runs.add_argument("folder", type=Path)
    runs.add_argument("--episodes", type=int, default=100, help="by scene")
    runs.add_argument("--seed", type=int, default=7)
    runs.add_argument("--light", type=float, default=1.0, help="factor of the pictures' brightness")
    runs.add_argument("--only", help="one simulator")
    runs.add_argument("--venvs", type=Path, default=ROOT, help="folder of the environments")
    tables = actions.add_parser("table")
    tables.add_argument("folders", type=Path, nargs="+")
    tables.add_argument("--figure", type=Path)
    given = parser.parse_args()
    if given.action == "run":
        run(given.folder, given.episodes, given.seed, given.light, given.only, given.venvs)
    else:
        panels = {folder.name.replace("_", " "): table(folder) for folder in given.folders}
        if given.figure is not None:
            draw(panels, given.figure)
    return 0


if __name__ == "__main__":
    sys.exit(main())
