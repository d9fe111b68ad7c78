"""Divergence from the baseline on its own path: what each variant would have done, compared with what was done.

An error is a variant's action minus the executed one, at the same observation and with the same noise; open loop, so
errors do not add up along an episode. See docs/outcomes.md.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from headless_eval.contracts.robots import OPEN_OR_CLOSED, ROBOTS
from headless_eval.errors import UserError
from headless_eval.report.frames import action_names
from headless_eval.report.summary import Summary
from headless_eval.results import EpisodeRecord, Readable, RunDirectory
from headless_eval.results.divergence import Divergence as Line
from headless_eval.results.pairing import pair
from headless_eval.sims.registry import find_suite

FILES = ("divergence.csv", "divergence.png")
"""What a report writes of it beside the page."""

BINS = 12
"""Parts of an episode's time, from its first replan to its last, that errors are gathered in."""

PHASES = {
    "approach": "on its approach",
    "grasp": "while grasping",
    "carry": "while carrying",
    "place": "while placing",
}
"""Phases that the baseline's gripper commands tell, and what sentences call them."""

LEAST_FOR_RANKS = 5
"""Variants without which no rank correlation is stated."""


@dataclass(frozen=True)
class Dimensions:
    """The dimensions of an action.

    Args:
        names: of all.
        units: of all; empty where they are not known.
        arm: which of them are summed up: those of the most frequent unit.
        gripper: which of them are a gripper's, from 0 open to 1 closed.
    """

    names: tuple[str, ...]
    units: tuple[str, ...]
    arm: np.ndarray
    gripper: np.ndarray

    @property
    def unit(self) -> str:
        """The unit of those that are summed up."""
        return self.units[int(self.arm[0])]


@dataclass(frozen=True)
class Along:
    """Errors of a variant along an episode of the baseline; a row per replan.

    Args:
        configuration: the variant's name.
        record: of the baseline's episode.
        rms: root mean square of the errors over the executed steps of the chunk, by dimension: (replans, dims).
        largest: the largest magnitude of them, (replans, dims).
        steps: executed steps of each chunk, (replans,).
        phases: of each replan; empty where they are not known.
    """

    configuration: str
    record: EpisodeRecord
    rms: np.ndarray
    largest: np.ndarray
    steps: np.ndarray
    phases: tuple[str, ...]

    def arm(self, dimensions: Dimensions) -> np.ndarray:
        """Return the root mean square over the arm's dimensions of each replan, (replans,)."""
        found: np.ndarray = np.sqrt(np.square(self.rms[:, dimensions.arm]).mean(axis=1))
        return found


@dataclass(frozen=True)
class Diverged:
    """A variant's errors over all replans that it was asked at.

    Args:
        configuration: its name.
        episodes: of the baseline.
        replans: of those.
        not_finite: replans at which it gave no finite number; they count nowhere else.
        rms: root mean square over the arm's dimensions and all executed steps, in their unit; None without a number.
        median: median of the replans' root mean squares: a typical chunk, where a few can make most of ``rms``.
        largest: the largest magnitude, of the arm.
        by_dimension: root mean square of each dimension in its own unit, (dims,).
        along: quartiles of the replans' root mean squares by part of the episode's time, (BINS, 3); NaN where none is.
        by_phase: root mean square of the arm by phase.
        success: success rate of its own episodes, and the baseline's; None without pairs.
        path_ratio: mean path length of its own episodes over that of the baseline's; None if not known.
    """

    configuration: str
    episodes: int
    replans: int
    not_finite: int
    rms: float | None
    median: float
    largest: float
    by_dimension: np.ndarray
    along: np.ndarray
    by_phase: dict[str, float]
    success: tuple[float, float] | None = None
    path_ratio: float | None = None


class Ranks(NamedTuple):
    """Spearman's rank correlation of the open-loop error with a closed-loop loss over so many variants."""

    what: str
    rho: float
    variants: int


@dataclass(frozen=True)
class Divergence:
    """The divergence of a run's variants.

    Args:
        baseline: whose path it is.
        dimensions: of an action.
        variants: in the run's order, then those that the run does not have.
        paths: by variant and episode, in that order.
        ranks: the rank correlations that can be stated.
        notes: what a reader has to know beside it; sentences without their full stops.
    """

    baseline: str
    dimensions: Dimensions
    variants: tuple[Diverged, ...]
    paths: tuple[Along, ...]
    ranks: tuple[Ranks, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def sentence(self) -> str:
        """Which variant departs most, where and when, in a sentence without its full stop; empty without numbers."""
        known = [one for one in self.variants if one.rms is not None]
        if not known:
            return ""
        worst, best = (choose(known, key=lambda one: one.rms or 0.0) for choose in (max, min))
        unit = f" {self.dimensions.unit}".rstrip()
        size = f"{significant(worst.rms)}{unit}"
        if not worst.rms:
            return f"No variant departs from {self.baseline} on its own path"
        least = f", {best.configuration} least ({significant(best.rms)}{unit})" if best is not worst else ""
        where = self.dimensions.names[most_in(worst, self.dimensions)].replace("_", " ")
        most = f"{worst.configuration} departs most ({size}, largest in {where} and {when(worst)})"
        return f"On {self.baseline}'s own path {most}{least}"


def divergence_of(run: Readable, records: Sequence[EpisodeRecord], summary: Summary) -> Divergence | None:
    """Return the divergence of a run's variants; None if no variant was asked along the baseline's path.

    Args:
        run: the run.
        records: its records.
        summary: their summary.

    Raises:
        UserError: ``divergence.jsonl`` is damaged.
    """
    if not isinstance(run, RunDirectory):
        return None
    stated = run.manifest.get("divergence")
    notes = tuple(_notes(stated if isinstance(stated, dict) else {}, summary.baseline))
    lines = run.divergences.lines()
    if not lines:
        return None
    episodes = {(one.task_id, one.episode): one for one in records if one.configuration == summary.baseline}
    paths: list[Along] = []
    dimensions: Dimensions | None = None
    order = {name: index for index, name in enumerate(run.variants)}
    for line in sorted(lines, key=lambda one: order.get(one.configuration, len(order))):
        record = episodes.get((line.task_id, line.episode))
        if record is None or not line.is_of(record):
            continue
        executed, asked = run.actions(record), run.divergences.actions(line)
        if executed is None or asked is None or executed.shape != asked.shape:
            continue
        dimensions = dimensions or dimensions_of(summary.suite, executed.shape[1])
        if len(dimensions.names) == executed.shape[1]:
            paths.append(errors_along(line, record, executed, asked, dimensions))
    if dimensions is None or not paths:
        return None
    names = dict.fromkeys(one.configuration for one in paths)
    by_name = {
        name: [one for one in records if one.configuration == name] for name in (*names, summary.baseline)
    }
    variants = [
        _diverged(
            name,
            [one for one in paths if one.configuration == name],
            dimensions,
            by_name[name],
            by_name[summary.baseline],
        )
        for name in names
    ]
    return Divergence(
        summary.baseline, dimensions, tuple(variants), tuple(paths), tuple(_ranks(variants)), notes
    )


def dimensions_of(suite: str, number: int) -> Dimensions:
    """Return what is known of the dimensions of a suite's actions, of which there are ``number``."""
    names, units = action_names(suite), list[str]()
    with suppress(UserError):
        for group in ROBOTS.find(find_suite(suite).robot).actions:
            units += [group.unit] * group.dims if isinstance(group.unit, str) else group.unit
    if len(names) != number or len(units) != number:
        names, units = [f"action_{index}" for index in range(number)], [""] * number
    grippers = [index for index, unit in enumerate(units) if unit == OPEN_OR_CLOSED]
    counts = {unit: units.count(unit) for unit in units if unit != OPEN_OR_CLOSED} or {OPEN_OR_CLOSED: number}
    most = max(counts, key=lambda unit: counts[unit])
    arm = [index for index, unit in enumerate(units) if unit == most]
    return Dimensions(tuple(names), tuple(units), np.array(arm), np.array(grippers, int))


def errors_along(
    line: Line, record: EpisodeRecord, executed: np.ndarray, asked: np.ndarray, dimensions: Dimensions
) -> Along:
    """Return a variant's errors at each replan of an episode.

    Args:
        line: what says how far replans are apart.
        record: of the baseline's episode.
        executed: the baseline's actions, float32 (steps, dims).
        asked: the variant's, of the same shape.
        dimensions: of an action.
    """
    starts = np.arange(0, len(executed), line.horizon)
    steps = np.diff([*starts, len(executed)])
    with np.errstate(invalid="ignore", over="ignore"):
        errors = asked.astype(np.float64) - executed
        squares = np.add.reduceat(np.square(errors), starts) / steps[:, None]
        largest = np.maximum.reduceat(np.abs(errors), starts)
    gripper = executed[:, dimensions.gripper].max(axis=1) if dimensions.gripper.size else None
    phases = () if gripper is None else phases_of(gripper, line.horizon)
    return Along(line.configuration, record, np.sqrt(squares), largest, steps, phases)


def phases_of(gripper: np.ndarray, horizon: int) -> tuple[str, ...]:
    """Return the phase of each replan that a gripper's commands tell.

    ``grasp`` are the chunk in which the gripper closes and the one before; ``place`` are those from its last opening
    on, if it stays open; ``carry`` are others that begin with a closed gripper, and ``approach`` the rest.

    Args:
        gripper: the command of each step, 0 open to 1 closed.
        horizon: steps of a chunk.
    """
    closed = np.concatenate([[False], gripper > 0.5])
    turns = np.flatnonzero(closed[1:] != closed[:-1])
    closings = {int(turn) // horizon for turn in turns if closed[turn + 1]}
    grasping = closings | {chunk - 1 for chunk in closings}
    stays_open = len(turns) > 0 and not closed[-1]
    placing = int(turns[-1]) // horizon if stays_open else len(gripper)
    return tuple(
        "place"
        if chunk >= placing
        else "grasp"
        if chunk in grasping
        else "carry"
        if closed[chunk * horizon + 1]
        else "approach"
        for chunk in range(-(-len(gripper) // horizon))
    )


def _diverged(
    name: str,
    paths: Sequence[Along],
    dimensions: Dimensions,
    own: Sequence[EpisodeRecord],
    baseline: Sequence[EpisodeRecord],
) -> Diverged:
    rms, largest = (np.concatenate([getattr(one, what) for one in paths]) for what in ("rms", "largest"))
    steps = np.concatenate([one.steps for one in paths])
    # The middle of each chunk's place among its episode's replans, from 0 to 1.
    time = np.concatenate([(np.arange(len(one.steps)) + 0.5) / len(one.steps) for one in paths])
    phases = np.array([phase for one in paths for phase in one.phases])
    finite = np.isfinite(rms).all(axis=1)
    squares = np.square(rms[finite])
    weights = steps[finite]
    arm = squares[:, dimensions.arm].mean(axis=1)
    bins = np.minimum((time[finite] * BINS).astype(int), BINS - 1)
    along = np.full((BINS, 3), np.nan)
    for part in np.unique(bins):
        along[part] = np.quantile(np.sqrt(arm[bins == part]), (0.25, 0.5, 0.75))
    by_phase = {}
    if len(phases) == len(finite):
        for phase in PHASES:
            inside = phases[finite] == phase
            if inside.any():
                by_phase[phase] = float(np.sqrt(np.average(arm[inside], weights=weights[inside])))
    some = bool(finite.any())
    success, ratio = _closed_loop(own, baseline)
    return Diverged(
        configuration=name,
        episodes=len(paths),
        replans=len(steps),
        not_finite=int((~finite).sum()),
        rms=float(np.sqrt(np.average(arm, weights=weights))) if some else None,
        median=float(np.median(np.sqrt(arm))) if some else float("nan"),
        largest=float(largest[finite][:, dimensions.arm].max()) if some else float("nan"),
        by_dimension=(
            np.sqrt(np.average(squares, axis=0, weights=weights)) if some else np.full(rms.shape[1], np.nan)
        ),
        along=along,
        by_phase=by_phase,
        success=success,
        path_ratio=ratio,
    )


def _closed_loop(
    own: Sequence[EpisodeRecord], baseline: Sequence[EpisodeRecord]
) -> tuple[tuple[float, float] | None, float | None]:
    """Return the success rates of a variant's own episodes and of the baseline's, and the ratio of path lengths."""
    pairs = pair(own, baseline).matched
    if not pairs:
        return None, None
    rates = tuple(sum(one.success for one in side) / len(pairs) for side in zip(*pairs, strict=True))
    lengths = [tuple((one.metrics or {}).get("path_length") for one in both) for both in pairs]
    known = [(mine, other) for mine, other in lengths if mine is not None and other is not None]
    total = sum(other for _, other in known)
    return (rates[0], rates[1]), sum(mine for mine, _ in known) / total if total else None


def _ranks(variants: Sequence[Diverged]) -> Iterator[Ranks]:
    from scipy.stats import spearmanr

    losses = {
        "loss of success": lambda one: None if one.success is None else one.success[1] - one.success[0],
        "path length": lambda one: one.path_ratio,
    }
    for what, loss in losses.items():
        points = [(one.rms, loss(one)) for one in variants if one.rms is not None and loss(one) is not None]
        if len(points) < LEAST_FOR_RANKS:
            continue
        errors, lost = zip(*points, strict=True)
        if len(set(errors)) > 1 and len(set(lost)) > 1:
            yield Ranks(what, float(spearmanr(errors, lost).statistic), len(points))


def _notes(stated: dict[str, object], baseline: str) -> Iterator[str]:
    failed, lost, repeated = (stated.get(name) for name in ("failed", "lost", "repeated"))
    if isinstance(failed, dict):
        yield from (f"{name} was not asked: {reason}" for name, reason in failed.items())
    if isinstance(lost, list):
        yield from map(str, lost)
    if isinstance(repeated, int | float) and repeated > 0:
        yield (
            f"{baseline} itself departed from its record by up to {significant(repeated)} when it was asked again, so "
            "differences of that size mean nothing"
        )


def most_in(one: Diverged, dimensions: Dimensions) -> int:
    """Return the index of the arm's dimension in which a variant departs most."""
    return int(dimensions.arm[np.argmax(one.by_dimension[dimensions.arm])])


def when(one: Diverged) -> str:
    """Return when a variant departs most: the phase where phases are known, else the third of the episode."""
    if one.by_phase:
        return PHASES[max(one.by_phase, key=lambda phase: one.by_phase[phase])]
    thirds = [
        float(np.nanmean(part)) if not np.isnan(part).all() else 0.0 for part in np.split(one.along[:, 1], 3)
    ]
    return f"in the {('first', 'second', 'last')[int(np.argmax(thirds))]} third of the episode"


def significant(value: float | None) -> str:
    """Return a size with two significant digits, as short as it goes: ``0.039``, ``4.2e-4``."""
    if value is None or not np.isfinite(value):
        return "–"
    if value == 0 or value >= 0.001:
        return f"{value:.2g}"
    digits, _, power = f"{value:.1e}".partition("e")
    return f"{digits}e{int(power)}"
