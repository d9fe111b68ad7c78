"""How many episodes adaptive levels save: until a threshold is known, against a grid that runs every level as often.

Both stop by the same rule, when the 95 % interval of the threshold is as short as was asked for, and are simulated on
known curves:

    python benchmarks/adaptive_levels.py                     300 simulations a row, the table of docs/statistics.md
    python benchmarks/adaptive_levels.py --figure FILE.png   also the figure
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from headless_eval.config.margins import Margin
from headless_eval.results.levels import BLOCK, Levels
from headless_eval.results.psychometric import Grid, Scale
from headless_eval.results.record import EpisodeRecord

Following = Callable[[list[EpisodeRecord]], list[tuple[int, int]]]
"""Returns the trials that come after these outcomes: task and episode."""

Choice = Callable[[], Following]
"""Starts a run."""

FEW = (0.5, 1.0, 2.0, 4.0, 8.0)
MANY = tuple(float(level) for level in np.geomspace(0.5, 8, 9))
MOST = 1200
TRUTHS = ((0.8, 0.8), (2.0, 0.4), (2.0, 0.8), (5.0, 0.8), (2.0, 2.0))
"""Thresholds in mm, with the width of the curve in the logarithm of the level."""

WIDTH = 30.0
"""The width that is asked for, in percent of the interval's lower end."""


class Run(NamedTuple):
    """A simulated run: episodes until the goal, and whether the interval holds the threshold."""

    episodes: int
    held: bool
    widths: list[float]


def scale_of(levels: tuple[float, ...]) -> Scale:
    """Return a family with these levels."""
    return Scale("insert", "mm", "less", 0.0, levels, tuple(range(1, len(levels) + 1)))


def episode(task: int, number: int, success: bool) -> EpisodeRecord:
    """Return a record with an outcome."""
    names = dict.fromkeys(
        ("dtype", "configuration", "scope", "task_key", "task_name", "instruction"), "float32"
    )
    counts = {"task_id": task, "episode": number, "steps": 1, "max_steps": 1, "seed": 0, "replans": 1}
    times = dict.fromkeys(("sim_s", "render_s", "infer_s", "total_s"), 0.0)
    status = "success" if success else "failure"
    rest = {"mode": "both", "actions_sha256": "", "video": None, "started_at": ""}
    return EpisodeRecord(**names, **counts, **times, **rest, status=status, success=success)


def ends(grid: Grid, wins: np.ndarray, trials: np.ndarray) -> tuple[float, float]:
    """Return the threshold's 95 % interval, as levels."""
    found = grid.quantiles(grid.marginal(grid.posterior(wins[None], trials[None])), (0.025, 0.975))[0]
    low, high = sorted(grid.scale.level(np.clip(found, grid.eases.min(), grid.eases.max())).tolist())
    return low, high


def simulate(grid: Grid, threshold: float, width: float, seed: int, choose: Choice) -> Run:
    """Run blocks until the interval is short enough; ``choose`` starts what says which trials come next."""
    scale, generator = grid.scale, np.random.default_rng(seed)
    success = grid.curve(scale.ease(threshold), width, 0.02, grid.eases)
    luck = generator.random((len(scale.levels), MOST))
    wins, trials, widths = np.zeros(len(success)), np.zeros(len(success)), []
    following = choose()
    outcomes: list[EpisodeRecord] = []
    while trials.sum() < MOST:
        for task, number in following(outcomes):
            place = task - 1
            won = bool(luck[place, number] < success[place])
            wins[place] += won
            trials[place] += 1
            outcomes.append(episode(task, number, won))
        low, high = ends(grid, wins, trials)
        widths.append(100 * (high / low - 1))
        if widths[-1] <= WIDTH:
            break
    return Run(int(trials.sum()), low <= threshold <= high, widths)


def adaptive(scale: Scale) -> Choice:
    """Return the choice by ``results.levels``."""

    def start() -> Following:
        levels, taken = Levels([scale], {scale.family: Margin("", 1e-9, "%")}, ["float32"], MOST), 0

        def following(outcomes: list[EpisodeRecord]) -> list[tuple[int, int]]:
            nonlocal taken
            for record in outcomes[taken:]:
                levels.add(record)
            taken = len(outcomes)
            return levels.next("float32")

        return following

    return start


def even(scale: Scale) -> Choice:
    """Return the choice of a grid: each level in turn."""

    def start() -> Following:
        def following(outcomes: list[EpisodeRecord]) -> list[tuple[int, int]]:
            number = len(outcomes)
            order = range(number, number + BLOCK)
            return [(scale.tasks[index % len(scale.tasks)], index // len(scale.tasks)) for index in order]

        return following

    return start


def main() -> None:
    """Print the table, and draw the figure if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=300, help="simulations of each row")
    parser.add_argument("--figure", type=Path, help="PNG file to draw")
    settings = parser.parse_args()
    print(f"Until the interval's ends are within {WIDTH:g} %:\n")
    heads = ["levels", "threshold, width of the curve", "adaptive, median", "grid, median", "times fewer"]
    print(f"| {' | '.join(heads)} | held, adaptive | held, grid |\n|---:|---|---:|---:|---:|---:|---:|")
    shown = {}
    for levels in (FEW, MANY):
        scale = scale_of(levels)
        grid = Grid(scale)
        for threshold, width in TRUTHS:
            runs = {
                name: [simulate(grid, threshold, width, seed, choose(scale)) for seed in range(settings.runs)]
                for name, choose in (("adaptive", adaptive), ("grid", even))
            }
            shown[len(levels), threshold, width] = runs
            medians = [np.median([one.episodes for one in runs[name]]) for name in runs]
            held = [np.mean([one.held for one in runs[name]]) for name in runs]
            print(
                f"| {len(levels)} | {threshold:g} mm, {width:g} | {medians[0]:.0f} | {medians[1]:.0f} | "
                f"{medians[1] / medians[0]:.1f} | {held[0]:.3f} | {held[1]:.3f} |",
                flush=True,
            )
    if settings.figure is not None:
        draw(settings.figure, shown[len(MANY), 2.0, 0.8])


def draw(path: Path, runs: dict[str, list[Run]]) -> None:
    """Draw the interval's width against the number of episodes, the median of the simulations."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.2), dpi=150, layout="constrained")
    axes = figure.subplots()
    for name, of in runs.items():
        longest = max(len(one.widths) for one in of)
        widths = np.array([one.widths + [np.nan] * (longest - len(one.widths)) for one in of])
        widths = np.where(np.isnan(widths), 0.0, widths)  # a run that is over is narrow enough
        middle = np.median(widths, axis=0)
        middle = middle[middle > 0]
        axes.plot(BLOCK * np.arange(1, len(middle) + 1), middle, label=name)
    axes.axhline(WIDTH, color="grey", linewidth=0.8, linestyle="--")
    axes.set_yscale("log")
    axes.set_xlabel("episodes of one precision")
    axes.set_ylabel("width of the interval, %")
    axes.set_title("Nine levels from 0.5 to 8 mm, threshold 2 mm", fontsize=10)
    axes.legend()
    figure.savefig(path)


if __name__ == "__main__":
    main()
