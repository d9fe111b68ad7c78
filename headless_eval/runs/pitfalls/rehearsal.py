"""Rehearsal: a few episodes with the policy as it is and, where none succeeds, with one convention altered at a time.

An alteration that makes failing episodes succeed tells what is wrong, for any policy, whatever its code looks like. A
policy that already succeeds has none of the pitfalls that cost every episode.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

from headless_eval.local_policy import LocalPolicy
from headless_eval.loop import run_trials
from headless_eval.policies.checks import FAILED, OK, UNKNOWN, WARNING
from headless_eval.results import ERROR, SUCCESS, EpisodeRecord
from headless_eval.rollout.trials import Trial
from headless_eval.runs.pitfalls.evidence import Evidence
from headless_eval.runs.pitfalls.known import Finding
from headless_eval.runs.pitfalls.protocol import plain
from headless_eval.runs.pitfalls.replies import all_equal, open_and_closed
from headless_eval.runs.pitfalls.statistics import other_normalisation, rotation_forms
from headless_eval.shared.text import plural

SHOWN_BY_EPISODES = ("turned", "cameras")
"""The pitfalls that nothing but an episode shows."""


@dataclass(frozen=True)
class Alteration:
    """A convention altered: what the policy is shown, and what is done with what it says.

    Args:
        pitfall: the pitfall's key.
        name: what is altered, after "with".
        observe: returns the observation to show.
        act: returns the chunk (horizon, dims) to execute, from the true observation and the reply.
    """

    pitfall: str
    name: str
    observe: Callable[[Mapping[str, Any]], dict[str, Any]] = dict
    act: Callable[[Mapping[str, Any], np.ndarray], np.ndarray] = lambda obs, chunk: chunk


def alterations(evidence: Evidence) -> list[Alteration]:
    """Return the alterations that a policy's robot, instructions and statistics allow, the most damaging first."""
    robot = evidence.robot
    cameras = [camera.key for camera in robot.cameras]
    found = [Alteration("turned", "the pictures turned by 180°", _pictures(cameras, lambda p: p[::-1, ::-1]))]
    start = 0
    for group in robot.actions:
        at, ends = slice(start, start + group.dims), open_and_closed(group)
        start += group.dims
        if ends is not None:
            found.append(
                Alteration("gripper", f"the {group.name}'s sign turned", act=_reversed(at, sum(ends)))
            )
        elif group.relative:
            found.append(
                Alteration(
                    "relative", f"the state subtracted from the {group.name}", act=_added(evidence, at, -1)
                )
            )
            found.append(
                Alteration("relative", f"the state added to the {group.name}", act=_added(evidence, at, 1))
            )
    if (functions := other_normalisation(evidence)) is not None:
        name = "mean and deviation" if evidence.uses_quantiles else "quantiles"
        found.append(Alteration("quantiles", f"{name} for normalisation", *functions))
    if len(cameras) > 1:
        found.append(Alteration("cameras", "the cameras swapped", _swapped(cameras)))
    found.append(Alteration("turned", "the pictures mirrored", _pictures(cameras, lambda p: p[:, ::-1])))
    found.append(
        Alteration(
            "turned", "red and blue exchanged in the pictures", _pictures(cameras, lambda p: p[..., ::-1])
        )
    )
    found += [
        Alteration("rotation", f"the rotation with {name}", change)
        for name, change in rotation_forms(evidence)
    ]
    if any(
        plain(str(obs.get("prompt", "")), robot.prompt) != obs.get("prompt") for obs in evidence.observations
    ):
        found.append(Alteration("prompt", "plain instructions", _plainly(robot.prompt)))
    return found


def rehearse(evidence: Evidence, found: Mapping[str, Finding], seconds: float) -> dict[str, Finding]:
    """Run a few episodes; return the findings with what the episodes show.

    Args:
        evidence: of a policy on a suite.
        found: the findings without episodes, by pitfall; what is suspected there is altered first.
        seconds: the time for all; 0 runs no episode.
    """
    found = _rehearsed(evidence, found, seconds)
    if len(evidence.robot.cameras) < 2:
        found["cameras"] = Finding("cameras", OK, "the robot has one camera")
    return found


def _rehearsed(evidence: Evidence, found: Mapping[str, Finding], seconds: float) -> dict[str, Finding]:
    deadline = perf_counter() + seconds
    by_hand = "compare the first picture of a run's video with one of training"
    if all_equal(evidence):
        return _all_unknown(found, "the replies do not depend on the pictures", "")
    if seconds <= 0:
        return _all_unknown(found, "no episode was run", f"--seconds 60; or {by_hand}")
    records = _run(evidence, evidence.trials[:1], None, deadline)
    if records and not _won(records):
        records += _run(evidence, evidence.trials[1:], None, deadline)
    if won := _won(records):
        text = f"{won} of {plural(len(records), 'episode')} succeed{'s' * (won == 1)} as it is"
        return {**found, **{key: Finding(key, OK, text) for key in SHOWN_BY_EPISODES}}
    if not records:
        return _all_unknown(found, f"no episode ended within {seconds:g} s", "give it more: --seconds")
    if errors := [record.error for record in records if record.status == ERROR]:
        said = str((errors[0] or {}).get("message"))
        return _all_unknown(found, f"{plural(len(errors), 'episode')} ended in an error: {said}", "")
    tried, ways = 0, _suspected_first(alterations(evidence), found)
    failed = f"0 of {len(records)} episodes succeed as it is"
    for way in ways:
        again = _run(evidence, evidence.trials[:1], way, deadline)
        if not again:
            break
        tried += 1
        if _won(again):
            again += _run(evidence, evidence.trials[1:], way, deadline)
            status = FAILED if len(again) > 1 and _won(again) == len(again) else WARNING
            text = f"{failed}, {_won(again)} of {len(again)} with {way.name}"
            found = {**found, way.pitfall: Finding(way.pitfall, status, text, f"evaluate it with {way.name}")}
            return _all_unknown(found, f"not looked for: it is {way.name}", "", but=way.pitfall)
    text = f"{failed}, nor with {tried} of {plural(len(ways), 'alteration')}"
    change = by_hand if tried == len(ways) else f"give it more time (--seconds), or {by_hand}"
    return _all_unknown(found, text, change)


def _all_unknown(found: Mapping[str, Finding], text: str, change: str, but: str = "") -> dict[str, Finding]:
    """Return the findings, with what only episodes show as unknown, except ``but``."""
    keys = (key for key in SHOWN_BY_EPISODES if key != but)
    return {**found, **{key: Finding(key, UNKNOWN, text, change) for key in keys}}


def _suspected_first(ways: Sequence[Alteration], found: Mapping[str, Finding]) -> list[Alteration]:
    suspected = {key for key, finding in found.items() if finding.status in (WARNING, FAILED)}
    return sorted(ways, key=lambda way: way.pitfall not in suspected)


def _won(records: Sequence[EpisodeRecord]) -> int:
    return sum(record.status == SUCCESS for record in records)


def _run(
    evidence: Evidence, trials: Sequence[Trial], way: Alteration | None, deadline: float
) -> list[EpisodeRecord]:
    """Run trials until the deadline; episodes that are not over by then do not count."""
    records: list[EpisodeRecord] = []
    policy: Any = evidence.policy if way is None else _Altered(evidence.policy, way)
    run_trials(
        evidence.simulator,
        policy,
        trials,
        on_episode=lambda record, actions: records.append(record),
        open_loop_horizon=evidence.open_loop_horizon,
        wanted=lambda trial: perf_counter() < deadline,
    )
    return records


class _Altered:
    """A policy with a convention altered; in all else it is the policy."""

    def __init__(self, policy: LocalPolicy, way: Alteration) -> None:
        self._policy, self._way = policy, way

    def __getattr__(self, name: str) -> Any:
        return getattr(self._policy, name)

    def infer_batch(
        self, observations: Sequence[dict[str, Any]], noise: Any = None, slots: Sequence[int] | None = None
    ) -> list[dict[str, Any]]:
        """Return the replies to the altered observations, altered."""
        shown = [self._way.observe(obs) for obs in observations]
        replies = self._policy.infer_batch(shown, noise, slots)
        return [
            {**reply, "actions": self._way.act(obs, np.asarray(reply["actions"], np.float64))}
            for obs, reply in zip(observations, replies, strict=True)
        ]


def _pictures(
    cameras: Sequence[str], change: Callable[[np.ndarray], np.ndarray]
) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    return lambda obs: {**obs, **{key: np.ascontiguousarray(change(obs[key])) for key in cameras}}


def _swapped(cameras: Sequence[str]) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    turned = [*cameras[1:], cameras[0]]
    return lambda obs: {**obs, **{key: obs[other] for key, other in zip(cameras, turned, strict=True)}}


def _plainly(example: str) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    return lambda obs: {**obs, "prompt": plain(str(obs.get("prompt", "")), example)}


def _reversed(at: slice, total: float) -> Callable[[Mapping[str, Any], np.ndarray], np.ndarray]:
    """Return a function that turns a gripper's numbers round: what opens then closes."""

    def act(obs: Mapping[str, Any], chunk: np.ndarray) -> np.ndarray:
        chunk = chunk.copy()
        chunk[:, at] = total - chunk[:, at]
        return chunk

    return act


def _added(
    evidence: Evidence, at: slice, factor: int
) -> Callable[[Mapping[str, Any], np.ndarray], np.ndarray]:
    """Return a function that adds or subtracts the state of a group's dimensions."""

    def act(obs: Mapping[str, Any], chunk: np.ndarray) -> np.ndarray:
        chunk = chunk.copy()
        chunk[:, at] += factor * evidence.group_of_state(obs)[at]
        return chunk

    return act
