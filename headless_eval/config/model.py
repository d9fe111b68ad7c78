"""Settings of the policy, its device and its engine."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from headless_eval.policies.options import GROUP, ArgumentSettings, CheckpointSettings, FlowSettings
from headless_eval.shared.flags import Settings, flag

WeightType = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True, kw_only=True)
class PolicyChoice(Settings):
    """The choice of a policy."""

    GROUP: ClassVar[str] = GROUP

    policy: Annotated[str, flag("POLICY", free=True)] = "pi0-droid-tiny"
    """Name that `list` shows, folder, lerobot:DIR, ws://HOST:PORT; your own: module:attribute, ./file.py:attribute."""

    checkpoint: Annotated[Path | None, flag("DIR", "the policy's", free=True)] = None
    """Checkpoint of openpi or LeRobot (folder, fetched address), or open-pi-zero's file."""


@dataclass(frozen=True, kw_only=True)
class PolicySettings(ArgumentSettings, PolicyChoice):
    """The choice of a policy, and its arguments."""

    GROUP: ClassVar[str] = GROUP


@dataclass(frozen=True, kw_only=True)
class DeviceSettings(Settings):
    """The policy's device."""

    GROUP: ClassVar[str] = GROUP

    gpu: Annotated[int | None, flag("INDEX", "the CPU", least=0, free=True)] = None
    """CUDA device that the policy runs on."""

    @property
    def device(self) -> str:
        """The policy's device, as torch names it."""
        return "cpu" if self.gpu is None else f"cuda:{self.gpu}"


@dataclass(frozen=True, kw_only=True)
class ModelSettings(FlowSettings, DeviceSettings, CheckpointSettings, PolicySettings):
    """A policy's model."""

    GROUP: ClassVar[str] = GROUP
