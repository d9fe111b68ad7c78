"""Adaptive levels: which trials of graded tasks a variant runs next, until its thresholds are known well enough.

Trials come in blocks. Each trial of a block is of the level that is expected to tell most of the threshold: to leave
the smallest entropy of its posterior, width and lapse integrated over (Kontsevich and Tyler, "Bayesian adaptive
estimation of psychometric slope and threshold", Vision Research 39 (1999) 2729-2737; Prins, "The psi-marginal
adaptive method", Journal of Vision 13(7) (2013) 3). Within a block outcomes are not known yet: a trial counts with
the chances of both. The choice depends on the complete blocks of the same variant and family alone, so that neither
slots, order nor interruptions change it. The n-th trial of a level is its n-th episode, whichever variant runs it:
variants meet the same episodes as far as both get.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from msgspec import Meta

from headless_eval.config.margins import Margin, parse_width
from headless_eval.errors import UserError
from headless_eval.results.psychometric import Grid, Scale, scales_of
from headless_eval.results.record import ERROR, Count, EpisodeRecord
from headless_eval.shared.suggest import unknown
from headless_eval.shared.text import plural
from headless_eval.shared.untrusted import convert

BLOCK = 6
"""Trials of a block."""

Trial = tuple[str, int, int]  # variant, task id, episode


@dataclass(frozen=True)
class _Settings:
    """The settings of a run that its levels depend on."""

    until_width: tuple[str, ...]
    retries: Count = 0


@dataclass(frozen=True)
class _Planned:
    """What else a manifest states that levels depend on."""

    episodes: Annotated[int, Meta(ge=1)]


@dataclass(frozen=True)
class LevelState:
    """How well a threshold is known.

    Args:
        configuration: the variant's name.
        family: of the tasks.
        width: of the threshold's 95 % interval, as far as the levels reach, in the terms of the goal; 0 if it lies
            beyond them.
        goal: the width that is asked for.
        episodes: number of trials in complete blocks.
        reached: whether the interval is as short as is asked for.
        exhausted: whether no level has an episode left.
    """

    configuration: str
    family: str
    width: float
    goal: str
    episodes: int
    reached: bool
    exhausted: bool

    @property
    def sentence(self) -> str:
        """The state in words, after the variant's name."""
        after = f"after {plural(self.episodes, 'episode')}"
        if self.reached and not self.width:
            return f"{self.family} known to lie beyond the levels {after}"
        if self.reached:
            return f"{self.family} known to within {self.goal} {after}"
        return f"{self.family} not known to within {self.goal} {after}"


class Levels:
    """The trials of all variants of a run with adaptive levels.

    Args:
        scales: the families of the run's tasks.
        goals: of each family, how long the threshold's interval may be: in the unit of its levels, or in percent of its
            lower end.
        variants: the variants' names, in order.
        episodes: how many episodes each task has.
        retries: how often an error is retried.
    """

    def __init__(
        self,
        scales: Sequence[Scale],
        goals: Mapping[str, Margin],
        variants: Sequence[str],
        episodes: int,
        retries: int = 0,
    ) -> None:
        self._variants, self._retries = list(variants), retries
        self._searches = {
            (name, scale.family): _Search(name, grid, goals[scale.family], episodes)
            for scale, grid in ((scale, Grid(scale)) for scale in scales)
            for name in variants
        }
        self._family = {task: scale.family for scale in scales for task in scale.tasks}
        self._attempts: Counter[Trial] = Counter()

    def add(self, record: EpisodeRecord) -> list[LevelState]:
        """Take the journal's next record; return what has become known well enough, or has no episodes left."""
        trial = record.trial
        self._attempts[trial] += 1
        search = self._searches.get((record.configuration, self._family.get(record.task_id, "")))
        if search is None or (record.status == ERROR and self._attempts[trial] <= self._retries):
            return []
        return search.add(record)

    def next(self, variant: str) -> list[tuple[int, int]]:
        """Return the trials that a variant is to run now, (task id, episode): the open blocks of its families."""
        return [trial for (name, _), one in self._searches.items() if name == variant for trial in one.block]

    @property
    def done(self) -> bool:
        """Whether no variant has a trial left to run."""
        return not any(self.next(name) for name in self._variants)

    @property
    def states(self) -> list[LevelState]:
        """How well each threshold is known, by family and variant."""
        return [one.state for one in self._searches.values()]


class _Search:
    """The trials of one variant and family: ``block`` holds those of the open block; it is empty at the end."""

    def __init__(self, name: str, grid: Grid, goal: Margin, episodes: int) -> None:
        self._name, self._grid, self._goal, self._episodes = name, grid, goal, episodes
        self._used = np.zeros(len(grid.eases), int)
        self._wins, self._trials = np.zeros(len(grid.eases)), np.zeros(len(grid.eases))
        self._open: dict[tuple[int, int], bool | None] = {}
        self._waiting: dict[tuple[int, int], bool | None] = {}
        self.block: list[tuple[int, int]] = []
        self._advance()

    def add(self, record: EpisodeRecord) -> list[LevelState]:
        """Take the outcome of a trial; one that is not of the open block may be of a later one."""
        if not self.block:
            return []
        self._waiting[record.task_id, record.episode] = None if record.status == ERROR else record.success
        while self.block and all(trial in self._waiting for trial in self.block):
            for task, episode in self.block:
                success = self._waiting.pop((task, episode))
                if success is not None:
                    level = self._grid.scale.tasks.index(task)
                    self._wins[level] += success
                    self._trials[level] += 1
            self._advance()
        return [] if self.block else [self.state]

    @property
    def state(self) -> LevelState:
        """How well the threshold is known from the complete blocks."""
        return LevelState(
            self._name,
            self._grid.scale.family,
            self._width,
            str(self._goal),
            int(self._trials.sum()),
            self._reached,
            not self._reached and not self.block,
        )

    def _advance(self) -> None:
        """Open the next block, if the interval is still too long and episodes are left."""
        grid = self._grid
        posterior = grid.posterior(self._wins[None], self._trials[None])
        ends = np.clip(
            grid.quantiles(grid.marginal(posterior), (0.025, 0.975))[0], grid.eases.min(), grid.eases.max()
        )
        low, high = sorted(grid.scale.level(ends).tolist())
        relative = self._goal.unit == "%"
        self._width = 100 * (high / low - 1) if relative else high - low
        self._reached = bool(self._trials.sum() > 0 and self._width <= self._goal.size)
        self.block = [] if self._reached else self._choose(np.exp(posterior[0] - posterior.max()))

    def _choose(self, weights: np.ndarray) -> list[tuple[int, int]]:
        """Return the trials of the next block; ``weights`` are the posterior's, (thresholds, widths, lapses)."""
        grid, block = self._grid, list[tuple[int, int]]()
        success = np.clip(grid.success, 1e-9, 1 - 1e-9)
        while len(block) < BLOCK and (free := np.flatnonzero(self._used < self._episodes)).size:
            weights = weights / weights.sum()
            chances = np.einsum("twl,twlx->x", weights, success)
            after = np.array([self._expected(weights, success[..., level], chances[level]) for level in free])
            level = int(free[after.argmin()])
            block.append((grid.scale.tasks[level], int(self._used[level])))
            self._used[level] += 1
            chance, at = chances[level], success[..., level]
            weights = weights * np.exp(chance * np.log(at) + (1 - chance) * np.log1p(-at))
        return block

    @staticmethod
    def _expected(weights: np.ndarray, success: np.ndarray, chance: float) -> float:
        """Return the entropy of the threshold that is expected after a trial with these chances of success."""
        return sum(
            share * _entropy((weights * outcome).sum(axis=(1, 2)))
            for share, outcome in ((chance, success), (1 - chance, 1 - success))
        )


def _entropy(weights: np.ndarray) -> float:
    shares = weights / weights.sum()
    return float(-(shares * np.log(np.maximum(shares, 1e-300))).sum())


def is_adaptive(manifest: Mapping[str, Any]) -> bool:
    """Return whether a run's levels were chosen by what had succeeded before."""
    settings = manifest.get("settings")
    return isinstance(settings, Mapping) and bool(settings.get("until_width"))


def levels_of(manifest: Mapping[str, Any]) -> Levels | None:
    """Return the levels of a run from its manifest, without outcomes yet; None for a run without adaptive levels.

    Raises:
        UserError: what ``planned_levels`` refuses.
        ValueError: the manifest's settings are damaged.
    """
    if not is_adaptive(manifest):
        return None
    known = convert(manifest["settings"], _Settings)
    episodes = convert({"episodes": manifest.get("episodes")}, _Planned).episodes
    scales, goals = planned_levels(manifest["tasks"], known.until_width)
    names = [entry["name"] for entry in manifest["variants"]]
    return Levels(scales, goals, names, episodes, known.retries)


def planned_levels(
    tasks: Sequence[Mapping[str, Any]], texts: Sequence[str]
) -> tuple[list[Scale], dict[str, Margin]]:
    """Return the families among some tasks, and how long the interval of each family's threshold may be.

    Args:
        tasks: entries of a manifest (``results.manifest.task_entry``).
        texts: as of ``goals_of``.

    Raises:
        UserError: a task is of no family with two levels, or what ``goals_of`` refuses.
    """
    scales = scales_of(tasks)
    covered = {task for scale in scales for task in scale.tasks}
    if loose := [entry["key"] for entry in tasks if entry["id"] not in covered]:
        raise UserError(
            f"--until-width is for graded tasks, two or more levels of a family, and {loose[0]} is not such a task: "
            "choose others with --tasks, or another suite, such as droid_precise"
        )
    return scales, goals_of(scales, texts)


def goals_of(scales: Sequence[Scale], texts: Sequence[str]) -> dict[str, Margin]:
    """Return of each family how long the interval of its threshold may be.

    Args:
        scales: the families.
        texts: ``0.5mm``, ``30%``, or ``insert=0.5mm`` for a family alone.

    Raises:
        UserError: a width names an unknown family or another unit than the family's, or a family has no width.
    """
    found: dict[str, Margin] = {}
    families = {scale.family: scale for scale in scales}
    for width in (parse_width("--until-width", text) for text in texts):
        if width.name and width.name not in families:
            raise unknown("family of graded tasks", width.name, families)
        for scale in [families[width.name]] if width.name else scales:
            if width.unit not in ("", "%", scale.unit) or (width.unit == "%" and not scale.logarithmic):
                raise UserError(
                    f"--until-width {width}: the levels of {scale.family} are in {scale.unit}; write "
                    f"{scale.family}={width.size:g}{scale.unit}"
                )
            if width.name or scale.family not in found:
                found[scale.family] = width
    if without := [family for family in families if family not in found]:
        raise UserError(
            f"--until-width gives no width for {', '.join(without)}: write {without[0]}=WIDTH, or one for all"
        )
    return found
