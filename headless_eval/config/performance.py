"""The flags of the commands about speed and rounding; nothing heavy is imported before they are parsed."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from headless_eval.errors import UserError
from headless_eval.shared.flags import flag

if TYPE_CHECKING:
    from headless_eval.performance.source import Source


@dataclass(frozen=True)
class _ModelFlags:
    """Which model, and where it computes."""

    policy: Annotated[str, flag("NAME|DIR")] = "pi0-droid-tiny"
    """A bundled policy, or a folder with config.toml, weights and normalisation statistics."""

    checkpoint: Annotated[Path | None, flag("DIR", "the policy's")] = None
    """Folder of openpi (JAX or PyTorch) or LeRobot; or gs://... or a hub id, if cached."""

    config: Annotated[str | None, flag("NAME", "the policy's")] = None
    """Its configuration by name, such as pi05_droid."""

    config_file: Annotated[Path | None, flag("FILE", "the policy's")] = None
    """Its configuration as TOML or JSON."""

    tokenizer: Annotated[Path | None, flag("FILE", "the policy's, or in $OPENPI_DATA_HOME")] = None
    """SentencePiece model."""

    flow_steps: Annotated[int | None, flag("STEPS", "the policy's")] = None
    """Euler steps of flow matching."""

    gpu: Annotated[int | None, flag("INDEX", "the CPU")] = None
    """CUDA device that computes."""

    results: Annotated[Path | None, flag("DIR", "results/<date>_<time>_<command>")] = None
    """Folder for the files."""

    def __post_init__(self) -> None:
        self._at_least(gpu=0, flow_steps=1)

    def _at_least(self, **bounds: int) -> None:
        for name, bound in bounds.items():
            value = getattr(self, name)
            for one in value if isinstance(value, tuple) else (value,):
                if one is not None and one < bound:
                    raise UserError(f"--{name.replace('_', '-')} is {one}; it must be {bound} or more")

    @property
    def device(self) -> str:
        """The device, as torch names it."""
        return "cpu" if self.gpu is None else f"cuda:{self.gpu}"

    def source(self, random_weights: bool = False) -> "Source":
        """Return where the model comes from."""
        from headless_eval.performance.source import find_source

        return find_source(
            self.policy,
            self.checkpoint,
            self.config,
            self.config_file,
            self.tokenizer,
            random_weights=random_weights,
            flow_steps=self.flow_steps,
        )


BENCH = """Measure latency, memory and error of inference, beside what the chip allows.

Every combination of the lists is a row. Rows are warmed up one after another and then measured in turns; one that
memory does not do for says so, and the rest goes on. Written: bench.csv, bench.json, bench.md, bench.png.

Examples:
  headless-eval bench
  headless-eval bench --dtypes float32 float8_e4m3 int8 --modes both --engines eager compiled --batch 1 4
  headless-eval bench --gpu 0 --config pi05_droid --random-weights --compute bfloat16 --batch 1 8 32
  headless-eval bench --gpu 0 --config pi05_droid --random-weights --compute bfloat16 \\
      --dtypes float8_e4m3 int8 --modes both --executions native

Exit status: 0 measured; 1 something failed that should not have; 2 a mistake in what was asked, or
nothing could be measured."""


@dataclass(frozen=True)
class BenchConfig(_ModelFlags):
    """Measure latency, memory and error of inference; see ``BENCH``."""

    random_weights: bool = False
    """Draw the weights on the device: speed can be measured without a checkpoint."""

    compute: Annotated[tuple[str, ...], flag("DTYPE ...")] = ("float32",)
    """What weights are kept and products computed in: float32, bfloat16, float16."""

    dtypes: Annotated[tuple[str, ...], flag("DTYPE ...")] = ("float32", "bfloat16", "float8_e4m3", "int8")
    """Precisions to put the model into, as in headless-eval run; float32 is the model as it is."""

    modes: Annotated[tuple[str, ...], flag("MODE ...")] = ("both",)
    """What they round: weights_only, activations_only, both."""

    executions: Annotated[tuple[str, ...], flag("simulated|native ...")] = ("simulated",)
    """Round to a precision's values, or compute in its types."""

    engines: Annotated[tuple[str, ...], flag("ENGINE ...", "eager compiled; on a GPU eager auto")] = ()
    """What computes: eager, compiled, fused, or auto for the fastest that can."""

    batch: Annotated[tuple[int, ...], flag("NUMBER ...")] = (1,)
    """Observations at once."""

    views: Annotated[tuple[int, ...], flag("NUMBER ...", "the robot's cameras")] = ()
    """Pictures of each."""

    prompt_tokens: Annotated[int | None, flag("NUMBER", "64, or as many as there are slots")] = None
    """Tokens of each prompt."""

    repeats: int = 20
    """How often each row is measured."""

    minutes: Annotated[float | None, flag("MINUTES", "no limit")] = None
    """Begin nothing new after this time; what is missing says so."""

    append: bool = False
    """Add to the table that is in the results' folder already."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_least(batch=1, views=0, repeats=1)
        _check_lists(self, "compute", "dtypes", "modes", "executions", "batch")
        _check_compute(*self.compute)
        if self.minutes is not None and not self.minutes > 0:
            raise UserError(f"--minutes is {self.minutes:g}; it must be above 0")

    @property
    def all_engines(self) -> tuple[str, ...]:
        """The engines, with the default filled in."""
        return self.engines or ("eager", "compiled" if self.gpu is None else "auto")

    def run(self) -> int:
        """Do it; returns the exit status."""
        from headless_eval.performance.bench.command import bench

        return bench(self)


PROFILE = """Say where the time of an inference goes, what the chip would allow, and where rounding does its damage.

The eager engine is looked into module by module; the others have no modules while they run, so their kernels are
listed as torch's profiler sees them. Rounding errors are always those of the eager model on the same inputs.
Written: profile.json, profile.md, profile.png, modules.csv, components.csv, kernels.csv (where the engine has no
modules) and Chrome traces for chrome://tracing or Perfetto.

Examples:
  headless-eval profile
  headless-eval profile --dtype float8_e4m3 --mode both --compare float32
  headless-eval profile --engine compiled --dtype int8 --mode both
  headless-eval profile --gpu 0 --config pi05_droid --random-weights --compute bfloat16 --engine fused"""


@dataclass(frozen=True)
class ProfileConfig(_ModelFlags):
    """Say where the time of an inference goes; see ``PROFILE``."""

    random_weights: bool = False
    """Draw the weights on the device."""

    compute: Annotated[str, flag("DTYPE")] = "float32"
    """What weights are kept and products computed in: float32, bfloat16, float16."""

    dtype: Annotated[str, flag("DTYPE")] = "float32"
    """Precision to put the model into, as in headless-eval run."""

    mode: Annotated[str, flag("MODE")] = "both"
    """What it rounds: weights_only, activations_only, both."""

    compare: Annotated[str | None, flag("PRECISION", "none")] = None
    """Show another precision beside it, such as float32 or int8_both."""

    execution: Annotated[str, flag("simulated|native")] = "simulated"
    """Round to the precision's values, or compute in its types."""

    engine: Annotated[str, flag("ENGINE")] = "eager"
    """What computes: eager, compiled, fused, or auto for the fastest that can."""

    batch: int = 1
    """Observations at once."""

    views: Annotated[int | None, flag("NUMBER", "the robot's cameras")] = None
    """Pictures of each."""

    prompt_tokens: Annotated[int | None, flag("NUMBER", "64, or as many as there are slots")] = None
    """Tokens of each prompt."""

    repeats: int = 20
    """How many inferences are measured."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_least(batch=1, views=0, repeats=2)
        _check_compute(self.compute)

    def run(self) -> int:
        """Do it; returns the exit status."""
        from headless_eval.performance.profile.command import profile

        return profile(self)


SENSITIVITY = """Round one part of the model at a time, and say what it does to the actions.

Every part (a component, or a component in one layer) is put into a precision alone, and the action chunks are
compared with those at float32, on the same recorded observations and noise. By default the observations are those
of a few episodes in the suite's simulator; they are kept in the folder, for --observations. Written:
sensitivity.csv, sensitivity.json, sensitivity.md, sensitivity.png, observations.npz.

Examples:
  headless-eval sensitivity
  headless-eval sensitivity --dtypes float8_e4m3 int4 --modes weights_only both --by component
  headless-eval sensitivity --dtypes int4 --observations results/run --tolerance 0.05
  headless-eval sensitivity --by component --success 10"""


@dataclass(frozen=True)
class SensitivityConfig(_ModelFlags):
    """Round one part of the model at a time; see ``SENSITIVITY``."""

    dtypes: Annotated[tuple[str, ...], flag("DTYPE ...")] = ("int8",)
    """Precisions to round to, as in headless-eval run."""

    modes: Annotated[tuple[str, ...], flag("MODE ...")] = ("both",)
    """What to round: weights_only, activations_only, both."""

    by: Literal["component", "layer", "both"] = "both"
    """Round whole components, components in single layers, or first the one and then the other."""

    tolerance: float = 0.02
    """The relative error of the actions up to which a part may be rounded, for the advice."""

    observations: Annotated[Path | None, flag("FILE|DIR", "recorded now")] = None
    """Observations that an earlier sensitivity kept, or the folder of a run, whose episodes are simulated again."""

    number: int = 16
    """Observations to measure on."""

    success: int = 0
    """Also run so many episodes per task with each component rounded; 0 for none."""

    suite: str = "droid"
    """Suite of tasks for observations and episodes."""

    tasks: Annotated[tuple[str, ...], flag("TASK ...", "all")] = ()
    """Tasks by number or key."""

    sim: Annotated[str | None, flag("NAME", "the suite's")] = None
    """Simulator."""

    seed: int = 7
    """Fixes the episodes, as in headless-eval run."""

    slots: int = 4
    """Episodes at once."""

    engine: Annotated[str, flag("ENGINE")] = "eager"
    """What computes: eager, compiled, fused, or auto for the fastest that can."""

    execution: Annotated[str, flag("simulated|native")] = "simulated"
    """Round to the precision's values, or compute in its types."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_least(number=1, success=0, seed=0, slots=1)
        _check_lists(self, "dtypes", "modes")
        if not self.tolerance > 0:
            raise UserError(f"--tolerance is {self.tolerance:g}; it must be above 0 (0.02 for 2 %)")

    def run(self) -> int:
        """Do it; returns the exit status."""
        from headless_eval.performance.sensitivity.command import sensitivity

        return sensitivity(self)


def _check_lists(config: Any, *names: str) -> None:
    for name in names:
        if not getattr(config, name):
            raise UserError(f"--{name} names nothing: give it at least one value")


def _check_compute(*names: str) -> None:
    from headless_eval.policies.registry import DTYPES
    from headless_eval.shared.suggest import unknown

    for name in names:
        if name not in DTYPES:
            raise unknown("type to compute in", name, DTYPES)
