"""How often the statistics of outcomes are wrong where they must not be, and how often they find what is there.

Every test is simulated at the edge of its hypothesis, where errors are most frequent, and beyond it:

    python benchmarks/type_one_errors.py                  10,000 simulations a row, the tables of docs/statistics.md
    python benchmarks/type_one_errors.py --runs 1000      quicker

It prints Markdown and exits with 1 if a rate is above its nominal level by more than chance (three standard errors).
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from headless_eval.report.change_power import change_power
from headless_eval.report.paired import intervals, signed_rank
from headless_eval.report.psychometric import interval_of_shift
from headless_eval.results.psychometric import Grid, Scale

Pairs = tuple[np.ndarray, np.ndarray]
SEED = 20261125
BATCH = 250
ROUNDING = 1e-9
"""How far an end has to lie from the margin, which may be an end itself, of counts (``report.margin``)."""


class Rate(NamedTuple):
    """How often something was claimed in simulations; ``nominal`` is how often it may be, None if it is true."""

    test: str
    data: str
    pairs: int
    found: float
    runs: int
    nominal: float | None
    expected: float | None = None

    @property
    def excessive(self) -> bool:
        """Whether the rate is above its nominal level by more than three standard errors."""
        if self.nominal is None:
            return False
        return self.found > self.nominal + 3 * (self.nominal * (1 - self.nominal) / self.runs) ** 0.5


def amounts(generator: np.random.Generator, shape: tuple[int, int]) -> Pairs:
    """Return positive amounts such as path lengths: log-normal, half of the spread due to the episode."""
    episode = generator.normal(0, 0.25, shape)
    return tuple(np.exp(episode + generator.normal(0, 0.25, shape)) for _ in range(2))


def heavy(generator: np.random.Generator, shape: tuple[int, int]) -> Pairs:
    """Return amounts of which one in ten is ten times as large, as the paths of failures are."""
    return tuple(
        values * np.where(generator.random(shape) < 0.1, 10.0, 1.0) for values in amounts(generator, shape)
    )


def counts(generator: np.random.Generator, shape: tuple[int, int]) -> Pairs:
    """Return small counts such as drops, 0.5 an episode."""
    return generator.poisson(0.5, shape).astype(float), generator.poisson(0.5, shape).astype(float)


DATA: dict[str, Callable[[np.random.Generator, tuple[int, int]], Pairs]] = {
    "amounts": amounts,
    "amounts, a tenth tenfold": heavy,
    "counts": counts,
}


def draw(name: str, pairs: int, runs: int) -> Pairs:
    """Return simulated values of baseline and variant without a difference, (runs, pairs) each."""
    generator = np.random.default_rng([SEED, pairs, list(DATA).index(name)])
    return DATA[name](generator, (runs, pairs))


def ends(reference: np.ndarray, other: np.ndarray, relative: bool) -> np.ndarray:
    """Return the intervals of many runs, (2, runs, 2), in parts that fit into memory."""
    parts = [
        intervals(reference[start : start + BATCH], other[start : start + BATCH], relative=relative)
        for start in range(0, len(reference), BATCH)
    ]
    return np.concatenate(parts, axis=1)


def no_difference(runs: int) -> Iterator[Rate]:
    """The signed-rank test where nothing differs."""
    for name in DATA:
        for pairs in (9, 15, 60, 150):
            reference, other = draw(name, pairs, runs)
            p_values = np.array([signed_rank(row) for row in other - reference])
            yield Rate("signed rank: differs", name, pairs, float(np.mean(p_values <= 0.05)), runs, 0.05)


def at_the_margin(runs: int) -> Iterator[Rate]:
    """The gate and equivalence where the change is the margin: a constant more, or so many times as much."""
    for name in DATA:
        for pairs in (9, 15, 60, 300):
            reference, other = draw(name, pairs, runs)
            for relative in (False, True):
                if relative and name == "counts":
                    continue  # the mean of few counts may be 0
                margin = 0.2
                below, above = margin - ROUNDING, margin + ROUNDING
                changed = other * (1 + margin) if relative else other + margin
                found = ends(reference, changed, relative)
                what = "20 % more" if relative else "0.2 more"
                data = f"{name}, {what}"
                yield Rate("gate: passed", data, pairs, float(np.mean(found[0, :, 1] < below)), runs, 0.025)
                yield Rate("gate: failed", data, pairs, float(np.mean(found[0, :, 0] > above)), runs, 0.025)
                equal = np.abs(found[1]).max(axis=1) < below
                yield Rate("equal within (two one-sided)", data, pairs, float(np.mean(equal)), runs, 0.05)


def power(runs: int) -> Iterator[Rate]:
    """How often an effect that is there is found."""
    for pairs in (9, 15, 60):
        reference, other = draw("amounts", pairs, runs)
        for factor in (1.1, 1.3, 2.0):
            changes = other * factor - reference
            p_values = np.array([signed_rank(row) for row in changes])
            many = draw("amounts", 1000, 200)
            many_changes = many[1] * factor - many[0]
            expected = change_power(pairs, float(many_changes.mean() / many_changes.std()))
            found = float(np.mean(p_values <= 0.05))
            yield Rate(
                "signed rank: differs", f"amounts, {factor:g} times", pairs, found, runs, None, expected
            )
        found = ends(reference, other, True)
        for margin in (0.1, 0.2):
            within = float(np.mean(found[0, :, 1] < margin))
            yield Rate(f"gate: passed, margin {margin:.0%}", "amounts, the same", pairs, within, runs, None)


def skewed(runs: int) -> Iterator[Rate]:
    """The gate beyond its hypothesis: only one pair in ten changes at all, and much, so that the mean is the margin."""
    for pairs in (15, 60, 300):
        generator = np.random.default_rng([SEED, pairs, 99])
        reference, other = amounts(generator, (runs, pairs))
        other = other + np.where(generator.random((runs, pairs)) < 0.1, 5.0, 0.0)
        found = ends(reference, other, False)
        yield Rate(
            "gate: passed", "amounts, a tenth 5 more", pairs, float(np.mean(found[0, :, 1] < 0.5)), runs, None
        )


def thresholds(runs: int) -> Iterator[Rate]:
    """How often the intervals of a threshold, and of a difference of thresholds, do not hold the truth.

    Tasks of five levels from 0.5 to 8 mm; half of the episodes are as hard for one variant as for the other.
    """
    levels = (0.5, 1.0, 2.0, 4.0, 8.0)
    grid = Grid(Scale("insert", "mm", "less", 0.0, levels, (1, 2, 3, 4, 5)))
    for episodes in (8, 15, 40):
        for one, other in ((1.0, 1.0), (1.0, 2.4), (1.5, 3.5)):
            generator = np.random.default_rng([SEED, episodes, int(10 * other)])
            luck = generator.random((runs, len(levels), episodes))
            own = np.where(generator.random(luck.shape) < 0.5, luck, generator.random(luck.shape))
            trials = np.full((runs, len(levels)), float(episodes))
            shares = []
            for threshold, lucks in ((one, luck), (other, own)):
                success = grid.curve(np.log(threshold), 1.0, 0.02, grid.eases)
                wins = (lucks < success[:, None]).sum(axis=2).astype(float)
                parts = [
                    grid.marginal(grid.posterior(wins[start : start + 50], trials[start : start + 50]))
                    for start in range(0, runs, 50)
                ]
                shares.append(np.concatenate(parts))
            low, high = grid.quantiles(shares[1], (0.025, 0.975)).T
            missed = float(np.mean((low > np.log(other)) | (high < np.log(other))))
            yield Rate("threshold not in its interval", f"{other:g} mm", episodes, missed, runs, 0.05)
            ends = np.array([interval_of_shift(grid, *pair) for pair in zip(*shares, strict=True)])
            missed = float(np.mean((ends[:, 0] > other - one) | (ends[:, 1] < other - one)))
            yield Rate(
                "difference not in its interval", f"{one:g} and {other:g} mm", episodes, missed, runs, 0.05
            )
            shown = float(np.mean((ends[:, 0] > 0) | (ends[:, 1] < 0)))
            nominal = 0.05 if one == other else None
            yield Rate("thresholds differ", f"{one:g} and {other:g} mm", episodes, shown, runs, nominal)


def sequential(runs: int) -> Iterator[Rate]:
    """The test by betting on a bounded outcome, looked at after each of 300 pairs.

    Time in shares of the limit; the variant needs as long, or longer by the margin of 0.05.
    """
    margin, alpha, pairs = 0.05, 0.05, 300
    stakes = (np.arange(100) + 0.5) / 100
    for name, spread in (("times", 0.08), ("times, a fifth at the limit", None)):
        for drop, claim in ((0.0, "worse"), (margin, "not worse by the margin"), (0.1, "worse")):
            generator = np.random.default_rng([SEED, 7, int(100 * drop)])
            wealth = np.zeros((runs, len(stakes)))
            ever = np.zeros(runs, bool)
            for _ in range(pairs):
                if spread is None:
                    one, other = (np.where(generator.random(runs) < 0.2, 1.0, 0.3) for _ in range(2))
                    other = np.where(other < 1, other + drop / 0.8, other)
                else:
                    one = generator.uniform(0.3, 0.5, runs) + generator.normal(0, spread, runs)
                    other = one + drop + generator.normal(0, spread, runs)
                lost = np.clip(other, 0, 1) - np.clip(one, 0, 1)
                number, mean = (lost, 0.0) if claim == "worse" else (-lost, -margin)
                wealth += np.log1p(stakes / (1 + mean) * (number - mean)[:, None])
                ever |= np.log(np.exp(wealth - 50).mean(axis=1)) + 50 >= np.log(1 / alpha)
            nominal = None if drop > margin else alpha
            yield Rate(
                f"sequential: {claim}", f"{name}, {drop:g} longer", pairs, float(ever.mean()), runs, nominal
            )


PARTS: dict[str, Callable[[int], Iterator[Rate]]] = {
    "no difference": no_difference,
    "at the margin": at_the_margin,
    "power": power,
    "skewed": skewed,
    "thresholds, episodes a level": thresholds,
    "sequential": sequential,
}


def main(arguments: list[str] | None = None) -> int:
    """Print the tables; return 1 if a rate is excessive, else 0."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=10_000, help="simulations of each row")
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS), help="parts to run")
    settings = parser.parse_args(arguments)
    bad = False
    for part in settings.only:
        print(f"\n### {part}\n\n| claim | data | nominal | rate, by pairs |\n|---|---|---:|---|")
        rows: dict[tuple[str, str, str], list[str]] = {}
        for one in PARTS[part](settings.runs):
            nominal = "" if one.nominal is None else f"{one.nominal:g}"
            expected = "" if one.expected is None else f" (formula {one.expected:.3f})"
            mark = " **too high**" if one.excessive else ""
            cell = f"{one.pairs}: {one.found:.4f}{expected}{mark}"
            rows.setdefault((one.test, one.data, nominal), []).append(cell)
            print(f"{part}, {one.test}, {one.data}, {cell}", file=sys.stderr, flush=True)
            bad = bad or one.excessive
        for row, cells in rows.items():
            print(f"| {' | '.join(row)} | {', '.join(cells)} |", flush=True)
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
