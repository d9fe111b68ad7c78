"""The settings of the command ``describe``: text about an image by a model's language backbone."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from headless_eval.config.model import DeviceSettings, WeightType
from headless_eval.config.simulation import refuse_commas
from headless_eval.quant.precision import Precision, configurations
from headless_eval.shared.flags import Settings, flag


@dataclass(frozen=True, kw_only=True)
class BackboneSettings(Settings):
    """The choice of a language backbone."""

    GROUP: ClassVar[str] = DeviceSettings.GROUP

    checkpoint: Annotated[Path, flag("DIR")]
    """PaliGemma's folder, or a π0 checkpoint that still has its head."""

    config: Annotated[str | None, flag("NAME", "the checkpoint's own")] = None
    """Configuration of a π0 checkpoint by name, such as pi0_base."""

    config_file: Annotated[Path | None, flag("FILE", "the checkpoint's own")] = None
    """Configuration of a π0 checkpoint as a TOML or JSON file."""

    tokenizer: Annotated[Path | None, flag("FILE", "the checkpoint's own, or in $OPENPI_DATA_HOME")] = None
    """SentencePiece model."""

    dtype: WeightType = "float32"
    """Type of the weights."""


@dataclass(frozen=True, kw_only=True)
class DescribeConfig(BackboneSettings, DeviceSettings):
    """Let a PaliGemma write text about an image: a cheap check of a quantized language backbone.

    The most likely token is taken at every step. With several precisions, each text is printed with the number of
    leading tokens that equal float32's.

    Examples:
      headless-eval describe --checkpoint paligemma-3b-pt-224 --image cat.png --prompt "caption en"
      headless-eval describe --checkpoint DIR --image cat.png --prompt "caption en" --dtypes float32 int8 rtn_w4a8

    Exit status: 0 done; 2 a mistake in the flags.
    """

    GROUP: ClassVar[str] = "Text"

    image: Annotated[Path, flag("FILE")]
    """Image to write about, in any common format."""

    prompt: Annotated[str, flag("TEXT")]
    """Prompt, such as "caption en" or "answer en what is this?"."""

    tokens: Annotated[int, flag(least=1, most=1024)] = 64
    """Maximal number of tokens to write."""

    dtypes: Annotated[tuple[str, ...], flag("DTYPE ...")] = ("float32",)
    """Data types, or methods such as rtn_w4a8; `list` names them all."""

    modes: Annotated[tuple[str, ...], flag("MODE ...")] = ("weights_only",)
    """What to quantize: weights_only, activations_only, both."""

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_commas(self, "dtypes", "modes")
        configurations(self.dtypes, self.modes)

    @property
    def precisions(self) -> list[Precision]:
        """The precisions to write at, float32 first."""
        return configurations(self.dtypes, self.modes)
