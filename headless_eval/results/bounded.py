"""Outcomes between 0 and 1 that a sequential test can bet on, where success alone saturates."""

from dataclasses import dataclass

from headless_eval.config.margins import Margin, parse_margin
from headless_eval.errors import UserError
from headless_eval.results.outcomes import QUANTITIES, stem_of
from headless_eval.results.record import EpisodeRecord
from headless_eval.shared.suggest import unknown

TIME = "time"
"""The time to success, failures at the limit of their task: bounded without a limit of its own."""


@dataclass(frozen=True)
class Bounded:
    """An outcome of which more is worse, counted up to a limit.

    Args:
        name: the outcome's name in records, or ``TIME``.
        limit: what counts as the worst, above 0, and all that is more; of ``TIME`` 1, in shares of the steps allowed.
        unit: of the limit; empty for a number or a share.
    """

    name: str
    limit: float
    unit: str = ""

    def good(self, record: EpisodeRecord) -> float | None:
        """Return how good an episode is, from 0 for the limit to 1 for nothing; None without the outcome."""
        if self.name == TIME:
            taken = record.steps if record.success else record.max_steps
            return 1 - min(1.0, taken / max(1, record.max_steps))
        value = (record.metrics or {}).get(self.name)
        return None if value is None else 1 - min(max(value, 0.0), self.limit) / self.limit

    def margin(self, share: float) -> str:
        """Return a share of the limit in words."""
        if self.name == TIME:
            return f"{100 * share:g} % of the time allowed"
        return f"{share * self.limit:g} {self.unit}".strip()


def bounded(text: str) -> Bounded:
    """Return the outcome that ``OUTCOME=LIMIT`` or ``time`` means, such as ``final_error=20mm``.

    Raises:
        UserError: there is no such outcome, its unit is another, less of it is worse, or the limit is missing or 0.
    """
    if text.strip() == TIME:
        return Bounded(TIME, 1.0)
    stated: Margin = parse_margin("--sequential-on", text)
    known = {
        name: one for name, one in QUANTITIES.items() if one.worse == "more" and name != "time_to_success_s"
    }
    named = [name for name in known if stated.name in (name, stem_of(name))]
    if len(named) > 1:
        named = [name for name in named if known[name].unit == stated.unit] or named
    if not named:
        raise unknown("outcome of --sequential-on", stated.name, dict.fromkeys([TIME, *map(stem_of, known)]))
    unit = known[named[0]].unit or ""
    if (
        len(named) > 1
        or not stated.size
        or (stated.unit and known[named[0]].unit is not None and stated.unit != unit)
    ):
        raise UserError(
            f"--sequential-on {text!r}: give a limit above 0 in {unit or 'a number'}, such as {stated.name}=20{unit}"
        )
    return Bounded(named[0], stated.size, stated.unit or unit)
