"""Settings of the policy, its device and its engine."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from headless_eval.shared.flags import Settings, flag

EngineChoice = Literal["auto", "eager", "compiled", "fused"]
ExecutionChoice = Literal["simulated", "native"]
WeightType = Literal["float32", "bfloat16", "float16"]

_GROUP = "Policy"


@dataclass(frozen=True, kw_only=True)
class PolicySettings(Settings):
    """The choice of a policy."""

    GROUP: ClassVar[str] = _GROUP

    policy: Annotated[str, flag("NAME|DIR", free=True)] = "pi0-droid-tiny"
    """Bundled policy, or a folder with config.toml, weights and statistics."""

    checkpoint: Annotated[Path | None, flag("DIR", "the policy's", free=True)] = None
    """openpi's or LeRobot's folder; or gs://... or a hub id, if cached."""


@dataclass(frozen=True, kw_only=True)
class CheckpointSettings(Settings):
    """Configuration, tokenizer and robot of a checkpoint that does not contain them."""

    GROUP: ClassVar[str] = _GROUP

    config: Annotated[str | None, flag("NAME", "the checkpoint's own", free=True)] = None
    """Configuration of the checkpoint by name, such as pi05_droid."""

    config_file: Annotated[Path | None, flag("FILE", "the checkpoint's own", free=True)] = None
    """Configuration of the checkpoint as a TOML or JSON file."""

    tokenizer: Annotated[
        Path | None, flag("FILE", "the checkpoint's own, or in $OPENPI_DATA_HOME", free=True)
    ] = None
    """SentencePiece model."""

    robot: Annotated[str | None, flag("NAME", "what the checkpoint says", free=True)] = None
    """Robot of a LeRobot folder that does not name it."""


@dataclass(frozen=True, kw_only=True)
class DeviceSettings(Settings):
    """The policy's device."""

    GROUP: ClassVar[str] = _GROUP

    gpu: Annotated[int | None, flag("INDEX", "the CPU", least=0, free=True)] = None
    """CUDA device that the policy runs on."""

    @property
    def device(self) -> str:
        """The policy's device, as torch names it."""
        return "cpu" if self.gpu is None else f"cuda:{self.gpu}"


@dataclass(frozen=True, kw_only=True)
class ModelSettings(DeviceSettings, CheckpointSettings, PolicySettings):
    """A policy's model."""

    GROUP: ClassVar[str] = _GROUP

    flow_steps: Annotated[int | None, flag("STEPS", "the policy's", least=1)] = None
    """Euler steps of flow matching."""


@dataclass(frozen=True, kw_only=True)
class EngineSettings(Settings):
    """The inference engine."""

    GROUP: ClassVar[str] = _GROUP

    engine: EngineChoice = "auto"
    """Inference engine; auto is the fastest that supports the precision."""

    execution: ExecutionChoice = "simulated"
    """Round to a precision's values, or compute in its types (fused, GPU)."""
