"""Sensitivity of a model's parts to rounding: each part rounded alone, by the error of the actions."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from headless_eval.errors import UserError
from headless_eval.local_policy import LocalPolicy
from headless_eval.performance.components import Component, components_of
from headless_eval.quant.precision import Precision, Scope
from headless_eval.rollout.recording import RecordedObservation

ALL = "all"
AND, UNION = " + ", "|"
"""Separator of the names, and of the regular expressions, of parts that are rounded together."""


@dataclass(frozen=True)
class Part:
    """A part of a model to round: a component, or a component in one layer; its modules' names match ``pattern``."""

    component: str
    layer: int | None
    pattern: str

    @property
    def name(self) -> str:
        """Return the part's name."""
        return self.component if self.layer is None else f"{self.component}, layer {self.layer}"


@dataclass(frozen=True)
class PartEffect:
    """Effect of rounding one part.

    Args:
        parameters: the part's share of the model's parameters.
        error: relative root mean square difference of the action chunks to float32, in normalised units.
        error_max: the largest difference, relative to the largest action, in normalised units.
        largest: the largest difference of an action in the robot's own units (radians, gripper 0 to 1).
        successes, episodes: results of ``--success``, if given.
        status: ``ok``, or the reason why the figures are missing.
    """

    precision: str
    component: str
    layer: int | None
    include: str
    parameters: float
    error: float | None = None
    error_max: float | None = None
    largest: float | None = None
    successes: int | None = None
    episodes: int | None = None
    status: str = "ok"


def parts_of(modules: Iterable[str], by: str) -> list[Part]:
    """Return the parts to round one at a time: ``component``, ``layer`` or ``both``; first the whole model.

    Args:
        modules: the names of the model's modules.
        by: what a part is.
    """
    parts = [Part(ALL, None, ".*")]
    names = [name for name in modules if name]
    for component in components_of(names):
        inside = [name for name in names if _matches(component.pattern, name)]
        if inside and (by != "layer" or not component.has_layers):
            parts.append(Part(component.name, None, component.pattern))
        if not component.has_layers or by == "component":
            continue
        layer = 0
        while any(_matches(component.layer_pattern(layer), name) for name in inside):
            parts.append(Part(component.name, layer, component.layer_pattern(layer)))
            layer += 1
    return parts


def _matches(pattern: str, name: str) -> bool:
    return Scope(pattern).matches(name)


class Sensitivity:
    """Measurement of parts of a policy's model on observations.

    Args:
        policy: the policy, at float32.
        seen: the observations, with their noise.
    """

    def __init__(self, policy: LocalPolicy, seen: Sequence[RecordedObservation]) -> None:
        self._policy = policy
        self._observations = [one.observation for one in seen]
        noises = [one.noise for one in seen if one.noise is not None]
        self._noise = np.stack(noises) if len(noises) == len(seen) else None
        policy.set_precision(Precision())
        self._reference = self._infer()
        self._scale, offset = self._scales()
        self._normal = (self._reference - offset) / self._scale
        self._sizes = policy.module_sizes

    def measure(self, precision: Precision, part: Part) -> PartEffect:
        """Return the effect of rounding one part; the policy stays at this precision.

        Raises:
            UserError: the policy's engine does not compute this precision.
        """
        scoped = replace(precision, scope=Scope(part.pattern))
        effect = PartEffect(
            precision.name, part.component, part.layer, part.pattern, self._share(scoped.scope)
        )
        try:
            self._policy.set_precision(scoped)
            actions = self._infer()
        except UserError as error:
            self._policy.set_precision(Precision())
            if "matches no" not in str(error) and "reached none" not in str(error):
                raise
            return replace(effect, status="nothing to round")
        difference = actions - self._reference
        normal = difference / self._scale
        return replace(
            effect,
            error=float(np.sqrt(np.square(normal).mean() / np.square(self._normal).mean())),
            error_max=float(np.abs(normal).max() / np.abs(self._normal).max()),
            largest=float(np.abs(difference).max()),
        )

    def _scales(self) -> tuple[np.ndarray, np.ndarray]:
        """Return scale and offset of actions: the policy's own, else standard deviation and mean of float32's."""
        if self._policy.has_measurable_model:
            return self._policy.action_scales(self._observations)
        spread = self._reference.std(axis=(0, 1))
        return np.where(spread > 0, spread, 1.0), self._reference.mean(axis=(0, 1))

    def _infer(self) -> np.ndarray:
        """Return the action chunks (number, horizon, dims); each observation counts as the first of an episode."""
        if self._policy.max_slots == 1:
            return np.concatenate([self._ask([index]) for index in range(len(self._observations))])
        return self._ask(range(len(self._observations)))

    def _ask(self, rows: Sequence[int]) -> np.ndarray:
        slots = range(len(rows))
        self._policy.reset()
        self._policy.reset(slots, list(rows))
        noise = None if self._noise is None else self._noise[list(rows)]
        replies = self._policy.infer_batch([self._observations[row] for row in rows], noise, slots)
        return np.stack([reply["actions"] for reply in replies]).astype(np.float64)

    def _share(self, scope: Scope) -> float:
        inside = sum(size for name, size in self._sizes.items() if scope.matches(name))
        return inside / max(1, sum(self._sizes.values()))


def advise(
    effects: Sequence[PartEffect], tolerance: float, measure: Callable[[Part], PartEffect]
) -> Iterator[PartEffect]:
    """Yield measurements of sets of parts; the last is the largest set found whose error is within a tolerance.

    The first set has all parts whose own error is within the tolerance. While the error of the set is above the
    tolerance, the part with the largest error is left out. Nothing is yielded if no part alone is within the tolerance.

    Args:
        effects: the effects of disjoint parts at one precision.
        tolerance: the largest allowed ``error``.
        measure: function that measures a set.
    """
    fitting = [one for one in effects if one.error is not None and one.error <= tolerance]
    fitting.sort(key=lambda one: one.error or 0.0)
    while fitting:
        pattern = UNION.join(one.include for one in fitting)
        found = measure(Part(AND.join(part_name(one) for one in fitting), None, pattern))
        yield found
        if found.error is None or found.error <= tolerance:
            return
        fitting.pop()


def is_candidate(effect: PartEffect, by: str, components: Sequence[Component]) -> bool:
    """Return whether the advice considers a part of a model with these components.

    The parts that it considers are disjoint and together form the model.
    """
    have_layers = {component.name: component.has_layers for component in components}
    if effect.component not in have_layers:
        return False
    if by != "layer":
        return effect.layer is None
    return effect.layer is not None or not have_layers[effect.component]


def part_name(effect: PartEffect) -> str:
    """Return the name of the part."""
    return Part(effect.component, effect.layer, effect.include).name
