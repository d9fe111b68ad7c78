"""Settings of what a run's tasks are perturbed by."""

from dataclasses import dataclass
from typing import Annotated

from headless_eval.config.simulation import SimulationSettings
from headless_eval.errors import UserError
from headless_eval.shared.flags import flag
from headless_eval.sims.perturbation import Perturbation, parse, parse_sweep
from headless_eval.sims.registry import find_suite


@dataclass(frozen=True, kw_only=True)
class ConditionSettings(SimulationSettings):
    """What the tasks are perturbed by: one perturbation of all of them, or a sweep over several.

    Raises:
        UserError: an axis is unknown or not for the suite's simulator, a level or a size is out of range, or both
            settings are given.
    """

    perturb: Annotated[tuple[str, ...], flag("AXIS=LEVEL ...", "none")] = ()
    """Change what is seen, met or said: light=2 camera=1, all=1, light=x0.6 (docs/perturbations.md)."""

    sweep: Annotated[tuple[str, ...], flag("AXIS=LEVELS ...", "none")] = ()
    """Every task plain, then one axis changed at a time: light=1,3 camera."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.perturb and self.sweep:
            raise UserError("--perturb changes all episodes, --sweep some: give one of them")
        self.conditions  # noqa: B018  refuses what is not valid

    @property
    def conditions(self) -> list[Perturbation]:
        """Return the perturbations that each task runs under; an empty one is the plain task."""
        if not self.perturb and not self.sweep:
            return [()]
        axes = find_suite(self.suite).axes(self.simulator)
        return parse_sweep(self.sweep, axes) if self.sweep else [parse(self.perturb, axes)]
