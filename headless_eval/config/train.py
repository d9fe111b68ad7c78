"""The settings of a training run."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from headless_eval.errors import UserError
from headless_eval.shared.flags import flag


@dataclass(frozen=True)
class TrainConfig:
    """Train a policy from scratch by flow matching on demonstrations of a scripted expert.

    Collects the demonstrations first, then trains. Both continue where an interrupted run stopped: give the
    same output folder again.
    """

    policy: str = "pi0-droid-tiny"
    """The policy to train anew, one of the bundled ones (see `headless-eval list`)."""

    out: Path = Path("train_out")
    """Folder for demonstrations, training state and, in `policy/`, the trained policy."""

    episodes: int = 3000
    """Demonstrations for each scene or task."""

    steps: int = 12200
    """Optimizer steps."""

    batch: int = 1024
    """Observations in a batch."""

    flow_samples: int = 4
    """Noise and flow-time draws for each observation; they share its prefix."""

    learning_rate: float = 1e-3
    """Peak learning rate of AdamW; 500 warm-up steps, then cosine decay to zero."""

    seed: int = 20261121
    """Seed of demonstrations, weights and batches."""

    device: str = "cuda"
    """Torch device to train on."""

    workers: int = os.cpu_count() or 1
    """Processes that collect demonstrations."""

    minutes: Annotated[float | None, flag("MINUTES", "no limit")] = None
    """Stop after this many minutes of training, the decay finished by then; overrides `steps`."""

    no_compile: bool = False
    """Leave torch.compile out, which on a GPU takes a minute at first and saves more later."""

    def __post_init__(self) -> None:
        least = {"episodes": 1, "steps": 1, "batch": 1, "flow_samples": 1, "seed": 0, "workers": 1}
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise UserError(
                    f"--{name.replace('_', '-')} is {getattr(self, name)}; it must be {bound} or more"
                )
        if self.learning_rate <= 0 or (self.minutes is not None and self.minutes <= 0):
            raise UserError("--learning-rate and --minutes must be above 0")
