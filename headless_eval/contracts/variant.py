"""What a run compares: variants of one policy, one of which is the baseline.

A variant is most often a numerical precision. It may also change how the policy computes otherwise: the flow steps,
the engine, the execution. Trials, records, tables and statistics know variants by their names alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol

UNQUANTIZED = "float32"
"""The dtype of the precision at which a model is as it was loaded; its mode and scope mean nothing."""

DEFAULT_BASELINE = UNQUANTIZED
"""The variant that the others are compared with unless a run names another: the policy as it was loaded."""


class PrecisionLike(Protocol):
    """A numerical precision, as far as records and manifests care; ``quant.Precision`` is one."""

    @property
    def name(self) -> str:
        """Its name, such as ``float8_e4m3_both``."""
        ...

    @property
    def dtype(self) -> str:
        """The numerical type, or the method."""
        ...

    @property
    def mode(self) -> str:
        """What is quantized: ``weights_only``, ``activations_only`` or ``both``."""
        ...

    @property
    def scope(self) -> Any:
        """Which modules it covers; ``str`` shows it."""
        ...


@dataclass(frozen=True)
class Variant:
    """One way of running a policy.

    Args:
        precision: the numerical precision it computes at.
        settings: what else differs from the policy as it was loaded, by name, such as ``{"flow_steps": 5}``; values
            are strings and numbers.
        label: its name; by default the precision's, followed by the settings: ``float32_flow_steps_5``.
    """

    precision: PrecisionLike
    settings: Mapping[str, str | int | float] = field(
        default_factory=lambda: MappingProxyType({}), hash=False
    )
    label: str | None = None

    @property
    def name(self) -> str:
        """Return its name in files, tables and trials."""
        if self.label is not None:
            return self.label
        return "_".join([self.precision.name, *(f"{key}_{value}" for key, value in self.settings.items())])

    @property
    def dtype(self) -> str:
        """Return the precision's numerical type or method."""
        return self.precision.dtype

    @property
    def mode(self) -> str:
        """Return what the precision quantizes."""
        return self.precision.mode

    @property
    def scope(self) -> str:
        """Return which modules the precision covers, as text."""
        return str(self.precision.scope)
