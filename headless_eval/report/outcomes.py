"""Outcomes finer than success, compared with the baseline over the same episodes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from headless_eval.config.margins import Margin
from headless_eval.errors import UserError
from headless_eval.report.change_power import detectable_change
from headless_eval.report.paired import Change, differences, mean_change, rank_direction, signed_rank
from headless_eval.report.statistics import holm
from headless_eval.results.outcomes import QUANTITIES, stem_of, unit_of, worse_of
from headless_eval.results.pairing import pair
from headless_eval.results.record import ERROR, FAILURE, EpisodeRecord
from headless_eval.results.sequential import ALPHA
from headless_eval.shared.suggest import unknown

TIME, LIMITED_TIME = "time_to_success_s", "time_limited_s"

PRIMARY = (TIME, "path_length", "smoothness_sparc", "final_error_mm", "drops")
"""What tables show unless asked for more, where records have it."""

_IN_PERCENT = {TIME, LIMITED_TIME, "path_length", "jerk", "largest_jump"}

Matched = Sequence[tuple[EpisodeRecord, EpisodeRecord]]


@dataclass(frozen=True)
class Outcome:
    """What is compared.

    Args:
        name: its name in records, or ``LIMITED_TIME``.
        title: what people call it.
        unit: its unit; empty for a number.
        worse: which direction is worse; None if it is not known.
        relative: whether changes are shares of the baseline's mean.
    """

    name: str
    title: str
    unit: str
    worse: Literal["more", "less"] | None
    relative: bool


@dataclass(frozen=True)
class OutcomeChange:
    """An outcome of a variant compared with the baseline's, over the same episodes that ended without error in both.

    Args:
        configuration: the variant's name.
        outcome: what is compared.
        of: number of pairs of episodes.
        pairs: number of pairs of which both have the outcome: of the time to success, those that succeed in both.
        differing: number of pairs with different values.
        reference: the baseline's mean over the pairs.
        mean: the variant's.
        change: the change of the mean; None if too few pairs differ, or it would be a share of 0.
        p_value: Wilcoxon's signed-rank test that nothing differs.
        direction: 1 if the signed ranks lie on the side of more, -1 on that of less, 0 on neither.
        spread: standard deviation of the differences; of those in the baseline's share if ``outcome.relative``.
        p_holm: the p-value after Holm's correction over all outcomes and variants; None before.
        detectable: the smallest change, in the terms of ``change``, that so many pairs show with 80 % power; None
            without a change, if they show none, and before the correction.
    """

    configuration: str
    outcome: Outcome
    of: int
    pairs: int
    differing: int
    reference: float
    mean: float
    change: Change | None
    p_value: float
    direction: int
    spread: float
    p_holm: float | None = None
    detectable: float | None = None

    @property
    def decided(self) -> Literal["worse", "better", "different"] | None:
        """How the outcome differs after Holm's correction (p at most 0.05), else None.

        ``different`` where no direction is worse, or the mean and the ranks do not agree on one.
        """
        if self.p_holm is None or self.p_holm > ALPHA:
            return None
        mean = int(np.sign(self.mean - self.reference))
        if self.outcome.worse is None or mean != self.direction:
            return "different"
        return "worse" if (self.outcome.worse == "more") == (mean > 0) else "better"


_SPELLED = {"deg": "°", "degree": "°", "degrees": "°"}


class Values:
    """The outcomes of records, by name.

    Args:
        records: of a run, or of several.
        manifest: where the units of outcomes are stated.
    """

    def __init__(self, records: Iterable[EpisodeRecord], manifest: Mapping[str, Any]) -> None:
        self._manifest = manifest
        found: dict[str, None] = {}
        self._period: float | None = None
        failed = False
        for record in records:
            metrics = record.metrics or {}
            found.update(dict.fromkeys(metrics))
            if self._period is None and TIME in metrics and record.steps:
                self._period = metrics[TIME] / record.steps
            failed = failed or record.status == FAILURE
        if self._period is not None and failed:  # else it is the time to success
            found[LIMITED_TIME] = None
        order = [
            name for known in QUANTITIES for name in ((known, LIMITED_TIME) if known == TIME else (known,))
        ]
        self.names = [name for name in order if name in found] + sorted(set(found) - set(order))

    def outcome(self, name: str) -> Outcome:
        """Return what an outcome is."""
        if name == LIMITED_TIME:
            return Outcome(name, "time, failures at the limit", "s", "more", True)
        title = QUANTITIES[name].title if name in QUANTITIES else name
        return Outcome(name, title, unit_of(name, self._manifest), worse_of(name), name in _IN_PERCENT)

    def find(self, margin: Margin) -> Outcome:
        """Return the outcome that a margin is of; its change is in the terms of the margin.

        Raises:
            UserError: no outcome has the name, several have, or the unit is another.
        """
        unit = _SPELLED.get(margin.unit, margin.unit)
        named = [name for name in self.names if margin.name in (name, stem_of(name))]
        if not named:
            known = dict.fromkeys(stem_of(name) for name in self.names)
            raise unknown("outcome", margin.name, known)
        if len(named) > 1:
            named = [name for name in named if unit_of(name, self._manifest) == unit] or named
        if len(named) > 1:
            raise UserError(f"{margin.name} is ambiguous: say {' or '.join(named)}")
        found = self.outcome(named[0])
        if unit not in ("", "%", found.unit):
            raise UserError(
                f"{found.name} is {f'in {found.unit}' if found.unit else 'a number'}, not in {margin.unit}: write "
                f"{margin.name}={margin.size:g}{found.unit} or {margin.name}=10%"
            )
        return replace(found, relative=unit == "%")

    def pairs(self, matched: Matched, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the outcome of the baseline and of the variant, (pairs,) each, where both have it.

        Args:
            matched: records of the variant and of the baseline.
            name: the outcome's.
        """
        values = np.array(
            [(self._value(other, name), self._value(one, name)) for one, other in matched], float
        ).reshape(-1, 2)
        both = values[np.isfinite(values).all(axis=1)]
        return both[:, 0], both[:, 1]

    def _value(self, record: EpisodeRecord, name: str) -> float:
        if name != LIMITED_TIME:
            return (record.metrics or {}).get(name, np.nan)
        if self._period is None or record.status == ERROR:
            return np.nan
        return self._period * (record.steps if record.success else record.max_steps)


def compare_outcomes(
    records: Sequence[EpisodeRecord], manifest: Mapping[str, Any], baseline: str
) -> tuple[OutcomeChange, ...]:
    """Return the outcomes of every variant but the baseline, compared with the baseline's.

    Args:
        records: one record per trial.
        manifest: of the run.
        baseline: the name of the variant that the others are compared with.
    """
    by_variant: dict[str, list[EpisodeRecord]] = {}
    for record in records:
        by_variant.setdefault(record.configuration, []).append(record)
    values = Values(records, manifest)
    if baseline not in by_variant or not values.names:
        return ()
    found = [
        change
        for name, mine in by_variant.items()
        if name != baseline
        for change in changes(name, pair(mine, by_variant[baseline]).matched, values)
    ]
    return judged_together(found)


def changes(configuration: str, matched: Matched, values: Values) -> list[OutcomeChange]:
    """Return each outcome of a variant compared with the baseline's; without those of which no pair has values.

    Args:
        configuration: the variant's name.
        matched: records of the variant and of the baseline.
        values: the outcomes.
    """
    found = []
    for name in values.names:
        outcome = values.outcome(name)
        reference, other = values.pairs(matched, name)
        if not len(reference):
            continue
        unequal = differences(reference, other)
        scale = float(reference.mean()) if outcome.relative else 1.0
        # Of a share, what varies is the part that the share does not explain.
        rest = other - other.mean() / scale * reference if outcome.relative and scale else unequal
        found.append(
            OutcomeChange(
                configuration,
                outcome,
                len(matched),
                len(reference),
                int(np.count_nonzero(unequal)),
                float(reference.mean()),
                float(other.mean()),
                mean_change(reference, other, relative=outcome.relative),
                signed_rank(unequal),
                rank_direction(unequal),
                float(rest.std(ddof=1)) / (scale or 1.0) if len(rest) > 1 else 0.0,
            )
        )
    return found


def judged_together(found: Sequence[OutcomeChange]) -> tuple[OutcomeChange, ...]:
    """Complete changes, which are one family of hypotheses: outcomes times variants."""
    adjusted = holm([one.p_value for one in found])
    level = ALPHA / max(1, len(found))
    return tuple(
        replace(
            one,
            p_holm=p_value,
            detectable=None if one.change is None else detectable_change(one.pairs, one.spread, level),
        )
        for one, p_value in zip(found, adjusted, strict=True)
    )
