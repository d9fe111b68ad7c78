"""The settings of the commands about speed and rounding."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from headless_eval.config.model import ModelSettings
from headless_eval.config.suite_policy import SuitePolicy
from headless_eval.errors import UserError
from headless_eval.policies.options import DTYPES, EngineChoice, EngineSettings, ExecutionChoice
from headless_eval.shared.flags import Settings, flag
from headless_eval.shared.suggest import unknown

_GROUP = "Measurement"


@dataclass(frozen=True, kw_only=True)
class FolderSettings(Settings):
    """The folder of a measurement's files."""

    GROUP: ClassVar[str] = "Results"

    results: Annotated[
        Path | None, flag("DIR", "results/<date>_<time>_<command>", hidden=("--output", "--out"))
    ] = None
    """Folder for the files."""


@dataclass(frozen=True, kw_only=True)
class BenchConfig(FolderSettings, ModelSettings):
    """Measure latency, memory and error of inference, and compare them with the limits of the chip.

    Every combination of the lists is a row. Rows are warmed up one after another and then measured in turns. A row for
    which memory does not suffice says so; the others are still measured. Files: bench.csv, bench.json, bench.md,
    bench.png.

    Examples:
      headless-eval bench
      headless-eval bench --dtypes float32 float8_e4m3 int8 --modes both --engines eager compiled --batch 1 4
      headless-eval bench --gpu 0 --config pi05_droid --random-weights --compute bfloat16 --batch 1 8 32
      headless-eval bench --gpu 0 --config pi05_droid --random-weights --compute bfloat16 \\
          --dtypes float8_e4m3 int8 --modes both --executions native

    Exit status: 0 measured; 1 a row failed for an unexpected reason; 2 a mistake in the flags, or nothing could be
    measured.
    """

    GROUP: ClassVar[str] = _GROUP

    random_weights: bool = False
    """Draw the weights on the device; no checkpoint is needed."""

    compute: Annotated[tuple[str, ...], flag("DTYPE ...")] = ("float32",)
    """Types of weights and products: float32, bfloat16, float16."""

    dtypes: Annotated[tuple[str, ...], flag("DTYPE ...", hidden=("--dtype",))] = (
        "float32",
        "bfloat16",
        "float8_e4m3",
        "int8",
    )
    """Precisions to measure at; float32 is the model as it is."""

    modes: Annotated[tuple[str, ...], flag("MODE ...", hidden=("--mode",))] = ("both",)
    """What to quantize: weights_only, activations_only, both."""

    executions: Annotated[
        tuple[ExecutionChoice, ...], flag("simulated|native ...", hidden=("--execution",))
    ] = ("simulated",)
    """Round to a precision's values, or compute in its types."""

    engines: Annotated[
        tuple[EngineChoice, ...],
        flag("ENGINE ...", "eager compiled; on a GPU eager auto", hidden=("--engine",)),
    ] = ()
    """Inference engines: eager, compiled, fused, auto (the fastest)."""

    batch: Annotated[tuple[int, ...], flag("NUMBER ...", least=1)] = (1,)
    """Observations at once."""

    views: Annotated[tuple[int, ...], flag("NUMBER ...", "the robot's cameras", least=0)] = ()
    """Pictures of each observation."""

    prompt_tokens: Annotated[int | None, flag("NUMBER", "64, or the most that fit")] = None
    """Tokens of each prompt."""

    repeats: Annotated[int, flag(least=1)] = 20
    """How often each row is measured."""

    minutes: Annotated[float | None, flag("MINUTES", "no limit", above=0)] = None
    """Start no row after this time; rows left out say so."""

    append: bool = False
    """Add rows to the table in the folder of results."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _refuse_empty_lists(self, "compute", "dtypes", "modes", "executions", "batch")
        _check_compute(*self.compute)

    @property
    def all_engines(self) -> tuple[EngineChoice, ...]:
        """The engines, with the default filled in."""
        return self.engines or ("eager", "compiled" if self.gpu is None else "auto")


@dataclass(frozen=True, kw_only=True)
class ProfileConfig(FolderSettings, EngineSettings, ModelSettings):
    """Show the time of an inference by module or kernel, the limits of the chip, and where rounding errors arise.

    The eager engine is measured module by module. The other engines do not run module by module, so their kernels are
    listed, as torch's profiler reports them. Rounding errors are always those of the eager model on the same inputs.
    Files: profile.json, profile.md, profile.png, modules.csv, components.csv, kernels.csv (not for eager) and
    Chrome traces for chrome://tracing or Perfetto.

    Examples:
      headless-eval profile
      headless-eval profile --dtype float8_e4m3 --mode both --compare float32
      headless-eval profile --engine compiled --dtype int8 --mode both
      headless-eval profile --gpu 0 --config pi05_droid --random-weights --compute bfloat16 --engine fused
    """

    GROUP: ClassVar[str] = _GROUP

    random_weights: bool = False
    """Draw the weights on the device."""

    compute: Annotated[str, flag("DTYPE")] = "float32"
    """Type of weights and products: float32, bfloat16, float16."""

    dtype: Annotated[str, flag("DTYPE", None, "--dtypes")] = "float32"
    """Precision to profile, exactly one; float32 is the model as it is."""

    mode: Annotated[str, flag("MODE", None, "--modes")] = "both"
    """What to quantize: weights_only, activations_only, both."""

    compare: Annotated[str | None, flag("PRECISION", "none")] = None
    """Precision to compare with, such as float32 or int8_both."""

    engine: EngineChoice = "eager"

    batch: Annotated[int, flag(least=1)] = 1
    """Observations at once."""

    views: Annotated[int | None, flag("NUMBER", "the robot's cameras", least=0)] = None
    """Pictures of each observation."""

    prompt_tokens: Annotated[int | None, flag("NUMBER", "64, or the most that fit")] = None
    """Tokens of each prompt."""

    repeats: Annotated[int, flag(least=2)] = 20
    """How many inferences are measured."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_compute(self.compute)


@dataclass(frozen=True, kw_only=True)
class SensitivityConfig(FolderSettings, SuitePolicy, EngineSettings, ModelSettings):
    """Round one part of the model at a time, and measure the error of the actions.

    Every part (a component, or a component in one layer) is rounded alone, and the action chunks are compared with
    float32's, on the same recorded observations and noise. By default the observations come from a few episodes in the
    suite's simulator; they are saved in the folder, for --observations. Files: sensitivity.csv, sensitivity.json,
    sensitivity.md, sensitivity.png, observations.npz.

    Examples:
      headless-eval sensitivity
      headless-eval sensitivity --dtypes float8_e4m3 int4 --modes weights_only both --by component
      headless-eval sensitivity --dtypes int4 --observations results/run --tolerance 0.05
      headless-eval sensitivity --by component --success 10
    """

    GROUP: ClassVar[str] = _GROUP

    dtypes: Annotated[tuple[str, ...], flag("DTYPE ...", hidden=("--dtype",))] = ("int8",)
    """Precisions to round to, as in headless-eval run."""

    modes: Annotated[tuple[str, ...], flag("MODE ...", hidden=("--mode",))] = ("both",)
    """What to round: weights_only, activations_only, both."""

    engine: EngineChoice = "eager"

    by: Literal["component", "layer", "both"] = "both"
    """Round whole components, components in single layers, or both in turn."""

    tolerance: float = 0.02
    """Relative error of the actions up to which the advice rounds."""

    observations: Annotated[Path | None, flag("FILE|DIR", "recorded now")] = None
    """Observations saved by sensitivity, or the folder of a run."""

    number: Annotated[int, flag(least=1)] = 16
    """Observations to measure on."""

    success: Annotated[int, flag("EPISODES", least=0)] = 0
    """Also run episodes per task with each component rounded."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _refuse_empty_lists(self, "dtypes", "modes")
        if not self.tolerance > 0:
            raise UserError(f"--tolerance is {self.tolerance:g}; it must be above 0 (0.02 for 2 %)")


def _refuse_empty_lists(config: Any, *names: str) -> None:
    for name in names:
        if not getattr(config, name):
            raise UserError(f"--{name} names nothing: give it at least one value")


def _check_compute(*names: str) -> None:
    for name in names:
        if name not in DTYPES:
            raise unknown("type to compute in", name, DTYPES)
