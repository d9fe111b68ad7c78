"""The settings of the commands about checkpoints."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from headless_eval.config.model import DeviceSettings, PolicySettings, WeightType
from headless_eval.policies.options import CheckpointSettings
from headless_eval.shared.flags import Settings, flag


@dataclass(frozen=True, kw_only=True)
class DoctorConfig(DeviceSettings, CheckpointSettings, PolicySettings):
    """Check a checkpoint before an evaluation; failed checks say how to correct the checkpoint.

    Exit status: 0 the checkpoint can be evaluated; 2 it cannot be evaluated.
    """

    dtype: WeightType = "float32"
    """Type that the weights are kept in."""


@dataclass(frozen=True, kw_only=True)
class ConvertConfig(CheckpointSettings):
    """Write a checkpoint in our format, or with openpi's PyTorch names: weights, configuration, statistics, tokenizer.

    The written weights are read back and compared before the command ends.
    """

    GROUP: ClassVar[str] = "Conversion"

    source: Annotated[str, flag("SRC", positional=True)]
    """Checkpoint of openpi, LeRobot or ours; or gs://... or a hub id."""

    target: Annotated[Path, flag("DST", positional=True)]
    """Folder to write; it must be new or empty."""

    to: Literal["headless-eval", "openpi"] = "headless-eval"
    """Format: ours, or openpi's PyTorch files with every parameter."""

    dtype: WeightType = "float32"
    """Type that the weights are written in."""


@dataclass(frozen=True, kw_only=True)
class FetchConfig(Settings):
    """Copy a checkpoint into openpi's cache ($OPENPI_DATA_HOME); the only command that uses the network.

    Complete files are kept, and incomplete files are continued.
    """

    address: Annotated[str, flag("ADDRESS", positional=True)]
    """Address, such as gs://openpi-assets/checkpoints/pi05_droid."""
