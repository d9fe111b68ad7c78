"""Episodes of a certificate that were run again, compared with what it states of them."""

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from headless_eval.report.statistics import mcnemar_exact
from headless_eval.results import ERROR, SUCCESS, EpisodeRecord
from headless_eval.results.sequential import ALPHA
from headless_eval.runs.certificate.document import Episode
from headless_eval.runs.certificate.statement import CONSISTENT, FAILS, HOLDS, UNCHECKED, Statement

_SHOWN = 5


@dataclass(frozen=True)
class Repeated:
    """An episode of the certificate, and how it came out here.

    Args:
        then: as the certificate states it.
        now: the record of the episode run again.
        first_action: its first action, as a certificate has it.
    """

    then: Episode
    now: EpisodeRecord
    first_action: str | None

    @property
    def same_actions(self) -> bool:
        """Whether all executed actions have the same bits."""
        return self.now.actions_sha256 == self.then.actions_sha256 and self.now.steps == self.then.steps

    @property
    def name(self) -> str:
        """What messages call the episode."""
        variant, task, episode = self.then.trial
        return f"{variant}, task {task}, episode {episode}"

    def action_difference(self) -> float | None:
        """Return the largest difference of the first action's numbers; None if they cannot be compared."""
        one, other = (_numbers(text) for text in (self.then.first_action, self.first_action))
        if one is None or other is None or len(one) != len(other):
            return None
        return float(np.abs(one.astype(np.float64) - other).max())


def _numbers(text: str | None) -> np.ndarray | None:
    try:
        data = base64.b64decode(text or "", validate=True)
    except ValueError:
        return None
    return np.frombuffer(data, "<f4") if data and len(data) % 4 == 0 else None


def compare(repeated: Sequence[Repeated], exact: bool, drawn: str, total: int) -> Iterator[Statement]:
    """Yield the statements on initial states, actions and outcomes of episodes that were run again.

    Args:
        repeated: the episodes.
        exact: whether they have to come out the same to the last bit: code, versions and hardware are the same, and
            simulator and policy repeat. If not, successes are compared, in pairs, at 5 %.
        drawn: how many of how many they are, and how they were chosen.
        total: how many they were chosen from.
    """
    broken = [one for one in repeated if one.now.status == ERROR]
    if broken:
        details = tuple(f"{one.name}: {_error(one.now)}" for one in broken[:_SHOWN])
        text = f"{len(broken)} of {len(repeated)} ended in an error here"
        yield Statement(FAILS, "sample", text, details)
    ended = [one for one in repeated if one.now.status != ERROR]
    if not ended:
        yield Statement(UNCHECKED, "initial states, actions, outcomes", "no episode ended without an error")
        return
    yield Statement(HOLDS, "sample", drawn) if not broken else Statement(UNCHECKED, "sample", drawn)
    yield _initial_states(ended)
    yield _actions(ended, exact)
    yield _outcomes(ended, exact, total)


def _initial_states(ended: Sequence[Repeated]) -> Statement:
    known = [one for one in ended if one.then.initial_state_sha256 and one.now.initial_state_sha256]
    other = [one for one in known if one.then.initial_state_sha256 != one.now.initial_state_sha256]
    if not known:
        return Statement(UNCHECKED, "initial states", "the simulator does not tell them")
    text = f"{len(known) - len(other)} of {len(ended)} the same"
    if not other:
        return Statement(HOLDS, "initial states", text)
    return Statement(FAILS, "initial states", text, tuple(one.name for one in other[:_SHOWN]))


def _actions(ended: Sequence[Repeated], exact: bool) -> Statement:
    other = [one for one in ended if not one.same_actions]
    text = f"{len(ended) - len(other)} of {len(ended)} bit for bit"
    if not other:
        return Statement(HOLDS, "actions", text)
    details = tuple(f"{one.name}: {_difference(one)}" for one in other[:_SHOWN])
    if exact:
        text += "; code, versions and hardware are the same, so all should be"
        return Statement(FAILS, "actions", text, details)
    known = [difference for one in other if (difference := one.action_difference()) is not None]
    if known:
        same = sum(difference == 0 for difference in known)
        text += f"; in {same} of the other {len(other)} the first action is the same"
        text += f", in the rest it differs by at most {max(known):.3g}" if max(known) else ""
    return Statement(CONSISTENT, "actions", text, details)


def _outcomes(ended: Sequence[Repeated], exact: bool, total: int) -> Statement:
    other = [one for one in ended if one.then.status != one.now.status]
    then = sum(one.then.status == SUCCESS for one in ended)
    now = sum(one.now.success for one in ended)
    details = tuple(f"{one.name}: {one.then.status} stated, {one.now.status} here" for one in other[:_SHOWN])
    if not other:
        text = f"{len(ended)} of {len(ended)} as stated, {now} of them successful"
        if len(ended) < total:
            text += f"; so at least {100 * ALPHA ** (1 / len(ended)):.0f} % of all {total} are true, at 95 % confidence"
        return Statement(HOLDS, "outcomes", text)
    if exact:
        return Statement(FAILS, "outcomes", f"{len(ended) - len(other)} of {len(ended)} as stated", details)
    gained = sum(one.now.success for one in other)
    p_value = mcnemar_exact(gained, len(other) - gained)
    text = f"success {now} of {len(ended)} where the certificate says {then} of {len(ended)}"
    if p_value <= ALPHA:
        return Statement(FAILS, "outcomes", f"{text}: not consistent at 5 % (p = {p_value:.2g})", details)
    return Statement(CONSISTENT, "outcomes", f"{text}: consistent at 5 % (p = {p_value:.2g})", details)


def _difference(one: Repeated) -> str:
    steps = f"{one.then.steps} steps stated, {one.now.steps} here"
    first = one.action_difference()
    if first is None:
        return f"other actions; {steps}"
    where = f"the first action differs by at most {first:.3g}" if first else "the first action is the same"
    return f"{where}; {steps}"


def _error(record: EpisodeRecord) -> str:
    error = record.error or {}
    return f"{error.get('type')}: {error.get('message')}"[:200]
