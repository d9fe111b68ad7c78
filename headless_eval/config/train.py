"""The settings of a training run."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from headless_eval.errors import UserError
from headless_eval.shared.flags import Settings, flag


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Settings):
    """Train a policy from scratch by flow matching on demonstrations of a scripted expert.

    Collects the demonstrations first, then trains. Both continue where an interrupted run stopped: give the
    same output folder again.
    """

    policy: str = "pi0-droid-tiny"
    """Bundled policy to train from scratch; `list` names them."""

    results: Annotated[Path, flag("DIR", hidden=("--out", "--output"))] = Path("train_out")
    """Folder for demonstrations, training state and the policy (in `policy/`)."""

    episodes: Annotated[int | None, flag(default="3000; 1200 for pi0-precise-tiny", least=1)] = None
    """Demonstrations for each scene, task or family of tasks."""

    steps: Annotated[int, flag(least=1)] = 12200
    """Optimizer steps."""

    batch: Annotated[int, flag(least=1)] = 1024
    """Observations in a batch."""

    flow_samples: Annotated[int, flag(least=1)] = 4
    """Draws of noise and flow time per observation, sharing its prefix."""

    learning_rate: float = 1e-3
    """Peak learning rate of AdamW; warm-up of 500 steps, cosine decay."""

    seed: Annotated[int, flag(least=0)] = 20261121
    """Seed of demonstrations, weights and batches."""

    device: str = "cuda"
    """Torch device to train on."""

    workers: Annotated[int, flag(default="one a processor", least=1)] = os.cpu_count() or 1
    """Processes that collect demonstrations."""

    minutes: Annotated[float | None, flag("MINUTES", "no limit")] = None
    """Train for this time, including the learning rate's decay; overrides --steps."""

    no_compile: bool = False
    """Do not use torch.compile, which takes a minute to start."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.learning_rate <= 0 or (self.minutes is not None and self.minutes <= 0):
            raise UserError("--learning-rate and --minutes must be above 0")
