"""Options of loading a policy: each is declared once, as a flag of the commands and an argument of ``load_policy``."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from headless_eval.errors import UserError
from headless_eval.shared.flags import Settings, flag
from headless_eval.shared.suggest import unknown

EngineChoice = Literal["auto", "eager", "compiled", "fused"]
ExecutionChoice = Literal["simulated", "native"]
DTYPES = ("float32", "bfloat16", "float16")
"""What weights can be kept in."""

GROUP = "Policy"


@dataclass(frozen=True, kw_only=True)
class ArgumentSettings(Settings):
    """Arguments of a policy of the user's own."""

    GROUP: ClassVar[str] = GROUP

    policy_args: Annotated[tuple[str, ...], flag("NAME=VALUE ...", "none")] = ()
    """Arguments of a policy of your own, such as scale=0.5."""


@dataclass(frozen=True, kw_only=True)
class CheckpointSettings(Settings):
    """Configuration, tokenizer and robot of a checkpoint that does not contain them."""

    GROUP: ClassVar[str] = GROUP

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
class FlowSettings(Settings):
    """How the flow is integrated."""

    GROUP: ClassVar[str] = GROUP

    flow_steps: Annotated[int | None, flag("STEPS", "the policy's", least=1)] = None
    """Euler steps of flow matching."""


@dataclass(frozen=True, kw_only=True)
class EngineSettings(Settings):
    """The inference engine."""

    GROUP: ClassVar[str] = GROUP

    engine: EngineChoice = "auto"
    """Inference engine; auto is the fastest that supports the precision."""

    execution: ExecutionChoice = "simulated"
    """Round to a precision's values, or compute in its types (fused, GPU)."""


@dataclass(frozen=True, kw_only=True)
class LoadOptions(EngineSettings, FlowSettings, CheckpointSettings, ArgumentSettings):
    """How to load a policy; the fields are the further arguments of ``load_policy``, which documents them.

    A new option of a family is a field of one of the bases, which makes it a flag of the commands, too.

    Raises:
        UserError: a value is out of range or unknown; the message names the nearest.
    """

    device: str = "cpu"
    dtype: str = "float32"

    def __post_init__(self) -> None:
        # Which engines there are, families say; and no flag was given here that a message could name.
        if isinstance(self.policy_args, Mapping):
            pairs = (f"{name}={json.dumps(value)}" for name, value in self.policy_args.items())
            object.__setattr__(self, "policy_args", tuple(pairs))
        for name in ("config_file", "tokenizer"):
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else Path(value))
        if self.dtype not in DTYPES:
            raise unknown("weight dtype", self.dtype, DTYPES)
        if self.flow_steps is not None and self.flow_steps < 1:
            raise UserError(f"flow_steps is {self.flow_steps}; it must be 1 or more")

    @classmethod
    def of(cls, settings: Any, **others: Any) -> "LoadOptions":
        """Return the options that a command's settings hold under the same names; ``others`` take precedence."""
        given = {one.name: getattr(settings, one.name) for one in fields(cls) if hasattr(settings, one.name)}
        return cls(**given | others)
