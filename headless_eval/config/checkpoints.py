"""The settings of the commands about checkpoints."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from headless_eval.config.model import DeviceSettings, PolicySettings, WeightType
from headless_eval.policies.options import CheckpointSettings
from headless_eval.shared.flags import Settings, flag


@dataclass(frozen=True, kw_only=True)
class DoctorConfig(DeviceSettings, CheckpointSettings, PolicySettings):
    """Check a policy before an evaluation; failed checks say how to correct it.

    A checkpoint's files are read; a policy of your own is loaded. With --suite, what policy and suite declare is
    compared, too: robot, cameras, state, actions with their units, control rate, actions of a chunk. Then the pitfalls
    of evaluations are looked for, from pictures turned to statistics of another robot, in what the policy does with a
    few first observations and in a few episodes. A bundled policy's suite is that of its training.

    Examples:
      headless-eval doctor --checkpoint DIR --config pi05_droid
      headless-eval doctor --policy ./my_policy.py:MyPolicy --suite droid

    Exit status: 0 the policy can be evaluated; 2 it cannot be evaluated, or a pitfall was proven.
    """

    suite: Annotated[str | None, flag("SUITE", "a bundled policy's own")] = None
    """Suite to compare the policy with, and to look for pitfalls with."""

    seconds: Annotated[float, flag("SECONDS", least=0, free=True)] = 60.0
    """Time for episodes that show pitfalls; 0 runs none."""

    simulator: Annotated[Any, flag(part=True)] = None
    """Settings of the suite's simulator."""

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
    """Download a checkpoint; no run downloads anything.

    Addresses go to openpi's cache ($OPENPI_DATA_HOME), hub ids to Hugging Face's ($HF_HOME). Complete files are kept,
    and incomplete files are continued.

    Examples:
      headless-eval fetch gs://openpi-assets/checkpoints/pi05_droid
      headless-eval fetch lerobot/pi05_base
    """

    address: Annotated[str, flag("ADDRESS", positional=True)]
    """Address, or a hub id, such as lerobot/pi05_base."""
