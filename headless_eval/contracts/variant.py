"""Variants of a policy, which a run compares with one of them, the baseline.

A variant is most often a numerical precision. It may also change other settings of the policy: the flow steps, the
engine, the execution. Trials, records, tables and statistics refer to variants only by name.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol

UNQUANTIZED = "float32"
"""The dtype of the precision that leaves a model unchanged; its mode and scope have no meaning."""

DEFAULT_BASELINE = UNQUANTIZED
"""The default baseline: the policy as it was loaded."""


class PrecisionLike(Protocol):
    """Interface of a numerical precision for records and manifests; ``quant.Precision`` implements it."""

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
        """The modules that the precision applies to; ``str`` shows them."""
        ...


@dataclass(frozen=True)
class Variant:
    """One way of running a policy.

    Args:
        precision: the variant's numerical precision.
        settings: other settings that differ from the policy as loaded, by name, such as ``{"flow_steps": 5}``; values
            are strings and numbers.
        label: the variant's name; by default the precision's, followed by the settings: ``float32_flow_steps_5``.
    """

    precision: PrecisionLike
    settings: Mapping[str, str | int | float] = field(
        default_factory=lambda: MappingProxyType({}), hash=False
    )
    label: str | None = None

    @property
    def name(self) -> str:
        """Return the variant's name in files, tables and trials."""
        if self.label is not None:
            return self.label
        return "_".join([self.precision.name, *(f"{key}_{value}" for key, value in self.settings.items())])

    @property
    def dtype(self) -> str:
        """Return the precision's numerical type or method."""
        return self.precision.dtype

    @property
    def mode(self) -> str:
        """Return the precision's mode."""
        return self.precision.mode

    @property
    def scope(self) -> str:
        """Return the modules that the precision applies to, as text."""
        return str(self.precision.scope)
