"""Pitfalls that show in the normalisation statistics: whose they are, how a rotation is written, which kind is used."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from headless_eval.policies.checks import FAILED, OK, UNKNOWN, WARNING
from headless_eval.policies.norm_stats import NormStats
from headless_eval.runs.pitfalls.evidence import Evidence
from headless_eval.runs.pitfalls.known import Finding

_SPANS = 1.0
"""A number may lie this many ranges of the training data beyond the range; robots start where training did."""
_LEAST_SPAN = 0.02
"""The range, in the number's unit, of a dimension that hardly moved in training."""
_WRONG_FORM, _RIGHT_FORM = 0.25, 0.05
"""How many ranges beyond the range a rotation lies, at least if it is written wrongly, at most if it is not."""
_NOT_UNIT = 0.01
_DEVIATIONS = 2.33  # of a normal distribution's 1st and 99th percentile
_THE_RIGHT_ONES = (
    "use the statistics that the checkpoint was trained with, of this robot (its asset id or unnorm_key)"
)
_BEYOND = 0.05
"""The share of normalised actions beyond 1.5 that quantiles leave to chance: 2 % lie beyond 1 by definition."""


def another_robot(evidence: Evidence) -> Finding:
    """Compare the state of real first observations with the range that the statistics saw in training."""
    stats = evidence.state_stats
    if stats is None:
        return Finding(
            "another_robot",
            UNKNOWN,
            "the policy does not show its statistics",
            "compare its normalised state with -1 to 1, dimension by dimension",
        )
    states = _states(evidence)
    if len(stats) < states.shape[1]:
        return Finding(
            "another_robot",
            WARNING,
            f"the statistics are of {len(stats)} numbers, the state has {states.shape[1]}",
            _THE_RIGHT_ONES,
        )
    beyond = _beyond(stats, states)
    if best := _best_form(evidence, stats, beyond):
        beyond = np.minimum(beyond, best[1])  # `rotation` tells of these
    outside = np.flatnonzero(beyond > _SPANS)
    if len(outside) == 0:
        return Finding(
            "another_robot", OK, f"{states.shape[1]} numbers of the first states lie where training's did"
        )
    worst = outside[np.argsort(-beyond[outside])][:3]
    low, high = _range(stats)
    names = _names(evidence, states.shape[1])
    texts = (
        f"{names[dim]} is {np.median(states[:, dim]):.3g}, in training {low[dim]:.3g} to {high[dim]:.3g}"
        for dim in worst
    )
    return Finding(
        "another_robot",
        WARNING,
        f"{len(outside)} of {states.shape[1]} numbers of the first states lie far from training's: {'; '.join(texts)}",
        _THE_RIGHT_ONES,
    )


def rotation(evidence: Evidence) -> Finding:
    """Compare rotations in the state, and the other ways of writing them, with the range of training."""
    if not list(rotation_forms(evidence)):
        return Finding("rotation", OK, "the robot's state holds no rotation")
    for group in evidence.robot.state:
        if at := _places(group.names, "quaternion"):
            norms = [np.linalg.norm(np.ravel(obs[group.key])[at]) for obs in evidence.observations]
            if max(abs(norm - 1) for norm in norms) > _NOT_UNIT:
                return Finding(
                    "rotation",
                    FAILED,
                    f"the quaternion in the state is {norms[0]:.3g} long, not 1",
                    "a part of the state is in another place than the robot's contract says",
                )
    stats = evidence.state_stats
    if stats is None or len(stats) < _states(evidence).shape[1]:
        return Finding(
            "rotation",
            UNKNOWN,
            "the policy shows no statistics of this state",
            "compare the rotation of a first state with one of training: order, sign, angle above π",
        )
    best = _best_form(evidence, stats, _beyond(stats, _states(evidence)))
    if best is None:
        return Finding("rotation", OK, "no other way of writing the rotation is nearer to training's")
    form, _ = best
    return Finding(
        "rotation",
        FAILED,
        f"the rotation lies outside training's range, and within it with {form}",
        f"give the policy the rotation with {form}",
    )


def quantiles(evidence: Evidence) -> Finding:
    """Compare how the policy normalises with its family's way, and with the size of what the model puts out."""
    stats, by_quantiles = evidence.action_stats, evidence.uses_quantiles
    if stats is None or by_quantiles is None:
        return Finding(
            "quantiles",
            UNKNOWN,
            "the policy does not say how it normalises",
            "look it up: openpi's π0, and π0-FAST on LIBERO, take mean and deviation, π0.5 quantiles",
        )
    way = "quantiles" if by_quantiles else "mean and deviation"
    other = "mean and deviation" if by_quantiles else "quantiles"
    change = (
        f"set use_quantile_norm = {str(not by_quantiles).lower()} unless training was different from openpi's"
    )
    pi05 = getattr(getattr(evidence.policy.config, "model", None), "pi05", None)
    if pi05 is not None and pi05 != by_quantiles:
        kind = "π0.5" if pi05 else "π0"
        return Finding(
            "quantiles", WARNING, f"by {way}, but openpi's {kind} are trained with {other}", change
        )
    if by_quantiles and len(stats) >= evidence.replies.shape[2]:
        relative = evidence.replies - evidence.relative_mask * _padded(evidence)
        normal = stats.normalize(relative, use_quantiles=True)
        share = float((np.abs(normal) > 1.5).mean())
        if share > _BEYOND:
            text = f"by quantiles, but {share:.0%} of the model's numbers lie beyond 1.5, as {other} would have it"
            return Finding("quantiles", WARNING, text, change)
    return Finding("quantiles", OK, f"by {way}")


def other_normalisation(evidence: Evidence) -> tuple[Any, Any] | None:
    """Return how to alter state and actions so that the policy normalises in the other way; None if it has but one.

    Returns:
        A function of an observation that returns it altered, and one of the observation and the chunk (horizon, dims).
    """
    of_state, of_actions, by_quantiles = evidence.state_stats, evidence.action_stats, evidence.uses_quantiles
    if of_state is None or of_actions is None or by_quantiles is None:
        return None
    if any(of.q01 is None for of in (of_state, of_actions)):
        return None
    dims, mask = evidence.robot.state_dims, evidence.relative_mask
    if len(evidence.state_numbers(evidence.observations[0])) != dims or len(of_state) < dims:
        return None  # the statistics count other numbers than the robot's
    if len(of_actions) < len(mask):
        return None

    def observe(obs: Mapping[str, Any]) -> dict[str, Any]:
        state = evidence.group_of_state(obs)
        altered = of_state.unnormalize(of_state.normalize(state, not by_quantiles), by_quantiles)
        return _with_state(evidence, obs, altered)

    def act(obs: Mapping[str, Any], chunk: np.ndarray) -> np.ndarray:
        added = mask * _fitted(evidence.group_of_state(observe(obs)), len(mask))
        normal = of_actions.normalize(chunk - added, by_quantiles)
        return of_actions.unnormalize(normal, not by_quantiles) + mask * _fitted(
            evidence.group_of_state(obs), len(mask)
        )

    return observe, act


def _states(evidence: Evidence) -> np.ndarray:
    """Return the states of the first observations as the statistics count them, (number, dims)."""
    return np.stack([evidence.state_numbers(obs) for obs in evidence.observations])


def _range(stats: NormStats) -> tuple[np.ndarray, np.ndarray]:
    if stats.q01 is not None and stats.q99 is not None:
        return stats.q01, stats.q99
    return stats.mean - _DEVIATIONS * stats.std, stats.mean + _DEVIATIONS * stats.std


def _beyond(stats: NormStats, states: np.ndarray) -> np.ndarray:
    """Return how far each number lies beyond training's range, in ranges; the median over the states, (dims,)."""
    low, high = (edge[: states.shape[1]] for edge in _range(stats))
    span = np.maximum(high - low, _LEAST_SPAN)
    excess: np.ndarray = np.median(np.maximum(np.maximum(low - states, states - high), 0) / span, axis=0)
    return excess


def _names(evidence: Evidence, dims: int) -> list[str]:
    names = [name for group in evidence.robot.state for name in group.names]
    return names if len(names) == dims else [f"number {index + 1}" for index in range(dims)]


def _places(names: tuple[str, ...], kind: str) -> list[int]:
    return [index for index, name in enumerate(names) if name.startswith(f"{kind}_")]


def rotation_forms(
    evidence: Evidence,
) -> Iterator[tuple[str, Callable[[Mapping[str, Any]], dict[str, Any]]]]:
    """Yield the other ways of writing the state's rotations: a name, and a function that rewrites an observation."""
    for group in evidence.robot.state:
        if at := _places(group.names, "quaternion"):
            w_first = group.names[at[0]].endswith("_w")
            order = "w first instead of last" if w_first else "w last instead of first"
            yield order, partial(_rewritten, group.key, at, partial(np.roll, shift=1 if w_first else -1))
            yield "the other sign", partial(_rewritten, group.key, at, np.negative)
        if at := _places(group.names, "rotation"):
            yield (
                "its axis and angle from the other side",
                partial(_rewritten, group.key, at, _from_the_other_side),
            )


def _from_the_other_side(vector: np.ndarray) -> np.ndarray:
    """Return a rotation, its axis times its angle, as the opposite axis times what is left of a full turn."""
    angle = float(np.linalg.norm(vector))
    return vector * (1 - 2 * np.pi / angle) if angle > 0 else vector


def _rewritten(
    key: str, at: list[int], change: Callable[[np.ndarray], np.ndarray], obs: Mapping[str, Any]
) -> dict[str, Any]:
    """Return an observation with the numbers of a state group at these places changed."""
    numbers = np.array(np.ravel(obs[key]), np.float64)
    numbers[at] = change(numbers[at])
    return {**obs, key: numbers.astype(np.float32)}


def _best_form(evidence: Evidence, stats: NormStats, beyond: np.ndarray) -> tuple[str, np.ndarray] | None:
    """Return the way of writing a rotation that brings all that it changes into training's range, where it was not.

    Returns:
        Its name, and how far each number then lies beyond the range, as of ``_beyond``.
    """
    for form, rewrite in rotation_forms(evidence):
        states = np.stack([evidence.state_numbers(rewrite(obs)) for obs in evidence.observations])
        changed = np.abs(states - _states(evidence)).max(axis=0) > 1e-6
        then = _beyond(stats, states)
        if (beyond[changed] > _WRONG_FORM).any() and (then[changed] <= _RIGHT_FORM).all():
            return form, then
    return None


def _with_state(evidence: Evidence, obs: Mapping[str, Any], state: np.ndarray) -> dict[str, Any]:
    """Return an observation with another state (state_dims,)."""
    altered, start = dict(obs), 0
    for group in evidence.robot.state:
        altered[group.key] = state[start : start + group.dims].astype(np.float32)
        start += group.dims
    return altered


def _fitted(state: np.ndarray, dims: int) -> np.ndarray:
    """Return the state's first numbers, padded with zeros to ``dims``."""
    return np.pad(state, (0, max(0, dims - len(state))))[:dims]


def _padded(evidence: Evidence) -> np.ndarray:
    """Return the first states, padded or cut to the actions' dims, (number, 1, dims)."""
    dims = evidence.robot.action_dims
    return np.stack([_fitted(evidence.group_of_state(obs), dims) for obs in evidence.observations])[:, None]
