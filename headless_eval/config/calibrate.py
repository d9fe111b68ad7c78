"""The flags of ``headless-eval calibrate``; nothing heavy is imported before they are parsed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from headless_eval.config.run import RunConfig
from headless_eval.errors import UserError
from headless_eval.shared.flags import flag


@dataclass(frozen=True)
class CalibrateConfig:
    """Record what goes into a policy's linear layers, for methods that need it (smoothquant_..., duquant_...).

    A few episodes run at float32, with seeds that no evaluation of that seed meets; what was seen of each layer
    is written as safetensors, tied to the weights by their hash. `run` does all this by itself unless it is
    given such a file: headless-eval run --dtypes float32 duquant_w4a8 --calibration FILE
    """

    output: Annotated[Path, flag("FILE", "calibration.safetensors")] = Path("calibration.safetensors")
    """Where to write; it may not be there yet."""

    suite: str = "droid"
    """Suite of tasks."""

    tasks: Annotated[tuple[str, ...], flag("TASK ...", "all")] = ()
    """Tasks by number or key; the episodes are dealt out to them in turn."""

    episodes: int = 3
    """Episodes to run."""

    observations: int = 32
    """How many of the observations in them to use."""

    policy: Annotated[str, flag("NAME|DIR", "pi0-droid-tiny")] = "pi0-droid-tiny"
    """A bundled policy, or its folder."""

    checkpoint: Annotated[Path | None, flag("DIR", "the policy's")] = None
    """Folder of openpi (JAX or PyTorch; name its --config) or LeRobot; or gs://... or a hub id, if cached."""

    config: Annotated[str | None, flag("NAME", "the policy's")] = None
    """Configuration of the checkpoint by name."""

    config_file: Annotated[Path | None, flag("FILE", "the policy's")] = None
    """Configuration of the checkpoint as TOML or JSON."""

    tokenizer: Annotated[Path | None, flag("FILE", "the policy's, or in $OPENPI_DATA_HOME")] = None
    """SentencePiece model."""

    gpu: Annotated[int | None, flag("INDEX", "the policy runs on the CPU")] = None
    """CUDA device that the policy runs on."""

    open_loop_horizon: Annotated[int | None, flag("STEPS", "the policy's")] = None
    """Control steps between two looks of the policy."""

    flow_steps: Annotated[int | None, flag("STEPS", "the policy's")] = None
    """Euler steps of flow matching."""

    sim: Annotated[str | None, flag("NAME", "the suite's")] = None
    """Simulator."""

    libero_assets: Annotated[Path | None, flag("DIR", "$LIBERO_ASSETS, then LIBERO's own")] = None
    """Folder of assets for the LIBERO suites."""

    seed: int = 7
    """Of the evaluation; the episodes here have other seeds."""

    slots: int = 4
    """Episodes at once; changes the speed, never the file."""

    def run(self) -> int:
        """Do it; returns the exit status."""
        if self.observations < 1:
            raise UserError(f"--observations is {self.observations}; it must be 1 or more")
        from headless_eval.runs.calibrate import calibrate_to_file

        return calibrate_to_file(RunConfig.of_flags(self), self.observations, self.output)
