"""The settings of ``headless-eval serve``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from headless_eval.config.model import ModelSettings
from headless_eval.errors import UserError
from headless_eval.policies.options import EngineSettings
from headless_eval.quant.precision import Precision, Scope, configurations
from headless_eval.shared.flags import Settings, flag


@dataclass(frozen=True, kw_only=True)
class ServedPrecision(Settings):
    """The precision of a served policy.

    Raises:
        UserError: the dtype, the mode or an expression is not valid, or a method has no calibration.
    """

    GROUP: ClassVar[str] = "Precision"

    dtype: Annotated[str, flag("DTYPE", None, "--dtypes")] = "float32"
    """Data type, or a method such as duquant_w4a8; exactly one."""

    mode: Annotated[str, flag("MODE", None, "--modes")] = "weights_only"
    """What to quantize: weights_only, activations_only, both."""

    include: Annotated[str, flag("REGEX", "all")] = ".*"
    """Quantize only modules whose name matches this regular expression."""

    exclude: Annotated[str | None, flag("REGEX", "none")] = None
    """Do not quantize modules whose name matches this regular expression."""

    calibration: Annotated[Path | None, flag("FILE", "none")] = None
    """File written by `calibrate`, for methods that need calibration."""

    def __post_init__(self) -> None:
        super().__post_init__()
        method = self.precision.method
        if method is not None and method.needs_calibration and self.calibration is None:
            raise UserError(
                f"--dtype {self.dtype} needs a calibration: make one with headless-eval calibrate, and name it with "
                "--calibration FILE"
            )

    @property
    def precision(self) -> Precision:
        """The precision to serve."""
        return configurations([self.dtype], [self.mode], Scope(self.include, self.exclude, ()))[-1]


@dataclass(frozen=True, kw_only=True)
class ServeConfig(ServedPrecision, EngineSettings, ModelSettings):
    """Offer a policy to clients of openpi's websocket protocol, at one precision; Ctrl-C ends the server.

    Observations have openpi's keys. Every connection is an episode: a policy with a history begins a new one. A request
    may hold the noise that flow matching starts from under the key `noise`; without it noise is drawn.

    Examples:
      headless-eval serve
      headless-eval serve --policy pi0-droid-tiny --dtypes int8 --modes both
      headless-eval serve --checkpoint DIR --config pi05_droid --gpu 0 --host 0.0.0.0

    Exit status: 0 ended by Ctrl-C; 2 a mistake in the flags, or the port is taken.
    """

    GROUP: ClassVar[str] = "Server"

    host: Annotated[str, flag("ADDRESS")] = "127.0.0.1"
    """Address to listen at; 0.0.0.0 lets other machines in, all of them."""

    port: Annotated[int, flag(least=0, most=65535)] = 8000
    """Port to listen at; 0 takes a free one."""
