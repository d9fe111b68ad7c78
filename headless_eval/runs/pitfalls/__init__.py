"""Pitfalls of evaluations: the ways in which published numbers were missed, looked for in a policy and a suite.

``known`` lists them with their reported damage; ``evidence`` shows the policy a few real observations; ``statistics``,
``replies`` and ``protocol`` judge what it has and says; ``rehearsal`` runs a few episodes, as it is and altered.
"""

from collections.abc import Callable

from headless_eval.runs.pitfalls import protocol, rehearsal, replies, statistics
from headless_eval.runs.pitfalls.evidence import Evidence
from headless_eval.runs.pitfalls.known import PITFALLS, Finding

PROBES: tuple[Callable[[Evidence], Finding], ...] = (
    statistics.another_robot,
    statistics.rotation,
    statistics.quantiles,
    replies.relative_or_absolute,
    replies.gripper,
    replies.unread,
    replies.crop,
    protocol.horizon,
    protocol.success,
    protocol.prompt,
)
"""What is judged without an episode; the pitfalls that only an episode shows are those of ``rehearsal``."""


def look_for_pitfalls(evidence: Evidence, seconds: float) -> list[Finding]:
    """Return a finding for every pitfall, in the order of ``known.PITFALLS``.

    Args:
        evidence: of a policy on a suite.
        seconds: the time for episodes; 0 runs none.
    """
    found = {finding.pitfall: finding for finding in (probe(evidence) for probe in PROBES)}
    found = rehearsal.rehearse(evidence, found, seconds)
    return [found[key] for key in PITFALLS if key in found]
