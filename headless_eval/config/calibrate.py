"""The settings of ``headless-eval calibrate``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from headless_eval.config.model import ModelSettings
from headless_eval.config.suite_policy import SuitePolicy
from headless_eval.policies.options import EngineSettings
from headless_eval.shared.flags import flag


@dataclass(frozen=True, kw_only=True)
class CalibrateConfig(SuitePolicy, EngineSettings, ModelSettings):
    """Record the inputs of a policy's linear layers, for methods that need them (smoothquant_..., duquant_...).

    A few episodes run at float32, with seeds that evaluations do not use. Statistics of each layer's inputs are written
    to a safetensors file, together with the hash of the weights. `run` calibrates by itself unless it gets such a file:
    headless-eval run --dtypes float32 duquant_w4a8 --calibration FILE
    """

    GROUP: ClassVar[str] = "Calibration"

    episodes: Annotated[int, flag(least=1, most=100_000)] = 3
    """Episodes to run, distributed over the tasks in turn."""

    observations: Annotated[int, flag(least=1)] = 32
    """Number of the episodes' observations to use."""

    output: Annotated[Path, flag("FILE", hidden=("--out",))] = Path("calibration.safetensors")
    """File to write; it must not exist."""
