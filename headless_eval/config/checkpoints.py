"""The flags of the commands about checkpoints; nothing heavy is imported before they are parsed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from headless_eval.shared.flags import flag


@dataclass(frozen=True)
class DoctorConfig:
    """Check a checkpoint before an evaluation: what passed, and what to do about what did not.

    Exit status: 0 it can be evaluated; 2 it cannot.
    """

    policy: Annotated[str, flag("NAME|DIR")] = "pi0-droid-tiny"
    """A bundled policy, or a folder with config.toml, weights and normalisation statistics."""

    checkpoint: Annotated[str | None, flag("DIR", "the policy's")] = None
    """Folder of openpi (JAX or PyTorch) or LeRobot; or gs://... or a hub id, if cached."""

    config: Annotated[str | None, flag("NAME", "the checkpoint's")] = None
    """Its configuration by name, such as pi05_droid."""

    config_file: Annotated[Path | None, flag("FILE", "the checkpoint's")] = None
    """Its configuration as TOML or JSON."""

    tokenizer: Annotated[Path | None, flag("FILE", "the checkpoint's, or in $OPENPI_DATA_HOME")] = None
    """SentencePiece model."""

    gpu: Annotated[int | None, flag("INDEX", "the policy runs on the CPU")] = None
    """CUDA device that the policy is to run on."""

    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """What the weights are kept in."""

    def run(self) -> int:
        """Do it; returns the exit status."""
        from headless_eval.policies.pi0.doctor import doctor

        device = "cpu" if self.gpu is None else f"cuda:{self.gpu}"
        return doctor(
            self.policy, self.checkpoint, self.config, self.config_file, self.tokenizer, device, self.dtype
        )


@dataclass(frozen=True)
class ConvertConfig:
    """Write a checkpoint in our format, or with openpi's PyTorch names: weights, configuration, statistics, tokenizer.

    What is written is read back and compared before the command ends.
    """

    source: Annotated[str, flag("SRC", positional=True)]
    """Checkpoint of openpi (JAX or PyTorch), LeRobot or ours; or gs://... or a hub id, if cached."""

    target: Annotated[Path, flag("DST", positional=True)]
    """Folder to write; it may not hold anything yet."""

    to: Literal["headless-eval", "openpi"] = "headless-eval"
    """Format: ours, or openpi's PyTorch files with every parameter that openpi expects."""

    config: Annotated[str | None, flag("NAME", "the checkpoint's")] = None
    """Its configuration by name, such as pi05_droid."""

    config_file: Annotated[Path | None, flag("FILE", "the checkpoint's")] = None
    """Its configuration as TOML or JSON."""

    tokenizer: Annotated[Path | None, flag("FILE", "the checkpoint's, or in $OPENPI_DATA_HOME")] = None
    """SentencePiece model."""

    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """What the weights are written in."""

    def run(self) -> int:
        """Do it; returns the exit status."""
        from headless_eval.checkpoints.locate import find_checkpoint
        from headless_eval.policies.pi0.convert import convert
        from headless_eval.policies.registry import find_config

        source = find_checkpoint(self.source)
        settings = find_config(source, self.config, self.config_file)
        for line in convert(source, self.target, settings, self.tokenizer, self.to, self.dtype):
            print(line)
        return 0


@dataclass(frozen=True)
class FetchConfig:
    """Copy a checkpoint into openpi's cache ($OPENPI_DATA_HOME); the only command that opens a connection.

    What is there already is kept, and files that were cut off are continued.
    """

    address: Annotated[str, flag("ADDRESS", positional=True)]
    """Such as gs://openpi-assets/checkpoints/pi05_droid."""

    def run(self) -> int:
        """Do it; returns the exit status."""
        from headless_eval.checkpoints.fetch import fetch

        print(fetch(self.address))
        return 0
