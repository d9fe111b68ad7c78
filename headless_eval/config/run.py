"""The settings of a run."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from headless_eval.config.conditions import ConditionSettings
from headless_eval.config.margins import parse_width
from headless_eval.config.model import ModelSettings
from headless_eval.config.simulation import SimulationSettings, refuse_commas
from headless_eval.config.suite_policy import SuitePolicy
from headless_eval.config.variants import variants_of
from headless_eval.contracts.variant import DEFAULT_BASELINE, UNQUANTIZED, Variant
from headless_eval.errors import UserError
from headless_eval.policies.options import EngineSettings
from headless_eval.policies.registry import float32_only
from headless_eval.quant.precision import Precision, Scope, configurations
from headless_eval.shared.flags import Settings, flag
from headless_eval.shared.suggest import unknown

VideoChoice = Literal["all", "failures", "none"]


@dataclass(frozen=True, kw_only=True)
class PrecisionSettings(Settings):
    """The precisions that a run compares.

    Raises:
        UserError: a dtype, a mode or an expression is not valid, or a setting of methods is given without a method.
    """

    GROUP: ClassVar[str] = "Precision"

    dtypes: Annotated[tuple[str, ...], flag("DTYPE ...")] = (
        "float32",
        "bfloat16",
        "float8_e4m3",
        "boolean",
    )
    """Data types; methods (duquant_w4a8, module:function, torchao:NAME)."""

    modes: Annotated[tuple[str, ...], flag("MODE ...")] = ("weights_only",)
    """What to quantize: weights_only, activations_only, both."""

    variant: Annotated[
        tuple[str, ...], flag("VARIANT ...", "--dtypes with --modes", hidden=("--variants",))
    ] = ()
    """Variants one by one instead, such as int8_both or float32+flow_steps=5."""

    include: Annotated[str, flag("REGEX", "all")] = ".*"
    """Quantize only modules whose name matches this regular expression."""

    exclude: Annotated[str | None, flag("REGEX", "none")] = None
    """Do not quantize modules whose name matches this regular expression."""

    bits: Annotated[tuple[str, ...], flag("REGEX=BITS ...", "the method's")] = ()
    """A method's bits by layer, such as mlp=w8a8; the first match counts."""

    baseline: Annotated[str, flag("NAME")] = DEFAULT_BASELINE
    """Variant that the others are compared with, such as bfloat16_weights_only."""

    calibration: Annotated[Path | None, flag("FILE", "the run makes its own", free=True)] = None
    """File written by `calibrate`, for methods that need calibration."""

    calibration_steps: Annotated[int, flag(least=1)] = 32
    """Observations for the run's own calibration, from 3 separate episodes."""

    packdir: Annotated[Path | None, flag("DIR", "none", free=True, kept=False)] = None
    """Cache of the packed weights of methods."""

    dry_run: Annotated[bool, flag(stated=False, free=True)] = False
    """Print the bits of each layer and stop."""

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_commas(self, "dtypes", "modes")
        if self.variant and (self.dtypes, self.modes) != (type(self).dtypes, type(self).modes):
            raise UserError(
                "--variant names precisions itself, such as int8_both: leave --dtypes and --modes out"
            )
        precisions = self.precisions
        for name in ("bits", "calibration", "dry_run"):
            if getattr(self, name) and not any(precision.method for precision in precisions):
                raise UserError(
                    f"--{name.replace('_', '-')} is for methods, and --dtypes names none: add one, such as "
                    "duquant_w4a8"
                )
        names = [variant.name for variant in self.variants]
        if self.baseline != DEFAULT_BASELINE and self.baseline not in names:
            raise unknown("baseline", self.baseline, names)

    @property
    def precisions(self) -> list[Precision]:
        """The precisions to run; float32 first, unless ``variant`` names them."""
        if self.variant:
            named = variants_of(self.variant, self._scope)
            return [variant.precision for variant in named if isinstance(variant.precision, Precision)]
        return configurations(self.dtypes, self.modes, self._scope)

    @property
    def variants(self) -> list[Variant]:
        """The variants to run, the baseline first, then float32."""
        if self.variant:
            variants = variants_of(self.variant, self._scope)
        else:
            variants = [Variant(precision) for precision in self.precisions]
        return sorted(variants, key=lambda variant: variant.name != self.baseline)

    @property
    def _scope(self) -> Scope:
        return Scope(self.include, self.exclude, tuple(_pair(text) for text in self.bits))

    @property
    def needs_calibration(self) -> bool:
        """Whether a method is among the dtypes."""
        methods = [precision.method for precision in self.precisions]
        return any(method is not None and method.needs_calibration for method in methods)


@dataclass(frozen=True, kw_only=True)
class EpisodeSettings(Settings):
    """The number of episodes and their length."""

    GROUP: ClassVar[str] = SimulationSettings.GROUP

    episodes: Annotated[int, flag(least=1, most=100_000)] = 5
    """Episodes of each task at each precision; more show smaller differences."""

    max_steps: Annotated[int | None, flag("STEPS", "the tasks'", least=1)] = None
    """Control steps that an episode may take."""

    sequential: Annotated[float | None, flag("MARGIN", "off")] = None
    """Stop precisions shown worse, or not worse by MARGIN (0.05: 5 points)."""

    sequential_on: Annotated[str | None, flag("OUTCOME=LIMIT|time", "success")] = None
    """Let --sequential judge this outcome, capped at LIMIT (final_error=20mm), or the time."""

    until_width: Annotated[tuple[str, ...], flag("[FAMILY=]WIDTH ...", "off", adds=True)] = ()
    """Choose graded tasks' levels until each threshold's interval is this narrow (0.5mm)."""


@dataclass(frozen=True, kw_only=True)
class OutputSettings(Settings):
    """The files of a run."""

    GROUP: ClassVar[str] = "Videos and results"

    videos: Annotated[VideoChoice, flag(free=True)] = "all"
    """Which episodes to keep as videos (H.264); errors count as failures here."""

    video_fps: Annotated[float, flag("FPS", above=0, free=True)] = 5.0
    """Frames per second of the videos, which play in real time."""

    divergence: Annotated[int | None, flag("EPISODES", "2; 0 of a server", least=0, free=True)] = None
    """Ask all variants at observations of this many baseline episodes per task."""

    results: Annotated[Path | None, flag("DIR", "results/<date>_<time>", free=True, kept=False)] = None
    """Folder for the results; it must not hold a run."""


@dataclass(frozen=True, kw_only=True)
class TrackingSettings(Settings):
    """Where a run is sent to, beside its folder."""

    GROUP: ClassVar[str] = OutputSettings.GROUP

    track: Annotated[tuple[str, ...], flag("TRACKER ...", "none", free=True, kept=False)] = ()
    """Also send rates, page and videos to wandb, mlflow, trackio or tensorboard."""


@dataclass(frozen=True, kw_only=True)
class RunningSettings(Settings):
    """How a run is carried out and what it prints.

    Raises:
        UserError: ``force`` is given without ``resume``.
    """

    GROUP: ClassVar[str] = "Running"

    resume: Annotated[Path | None, flag("DIR", "a new run", stated=False, free=True)] = None
    """Continue the run in this folder with its settings."""

    force: Annotated[bool, flag(stated=False, free=True)] = False
    """Continue although settings, code, versions or weights have changed."""

    retries: Annotated[int, flag(least=0, free=True)] = 0
    """How often an episode that was an error is repeated."""

    episode_timeout: Annotated[float, flag("SECONDS", "1800 s", free=True)] = 1800.0
    """Seconds after which an unfinished episode is an error."""

    quiet: Annotated[bool, flag(free=True, kept=False)] = False
    """Print only the path of the results."""

    log_json: Annotated[bool, flag(free=True, kept=False)] = False
    """Print only a JSON line per event (start, episode, end)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.episode_timeout > 0:
            raise UserError(f"--episode-timeout is {self.episode_timeout:g}; it must be above 0")
        if self.force and self.resume is None:
            raise UserError("--force goes with --resume only: a new run never overwrites anything")


@dataclass(frozen=True, kw_only=True)
class PlanSettings(Settings):
    """Where a run's settings come from and go to, and what is told instead of running.

    Raises:
        UserError: the drop is out of range, or settings of a file are given to a run that has its own.
    """

    GROUP: ClassVar[str] = "Settings and plan"

    from_: Annotated[Path | None, flag("FILE", "none", stated=False, free=True)] = None
    """TOML file of settings; flags win; lists make several runs."""

    save_settings: Annotated[Path | None, flag("FILE", "off", stated=False, free=True)] = None
    """Write the settings as such a file and stop."""

    power: Annotated[float | None, flag("DROP", "off", stated=False, free=True)] = None
    """Tell how many episodes show this drop (0.05: 5 points); stop."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.power is not None and not 0 < self.power <= 1:
            raise UserError(
                f"--power is {self.power:g}; it must be above 0 and at most 1 (0.05 for 5 points)"
            )


@dataclass(frozen=True, kw_only=True)
class RunConfig(
    # The help shows them from the last to the first.
    PlanSettings,
    RunningSettings,
    TrackingSettings,
    OutputSettings,
    PrecisionSettings,
    EpisodeSettings,
    ConditionSettings,
    SuitePolicy,
    EngineSettings,
    ModelSettings,
):
    """Evaluate a policy at several numerical precisions, on the same episodes.

    Every precision runs with the same initial states and the same flow-matching noise, so that precisions can be
    compared in pairs. The results are a folder: report.html for the browser, tables, videos, and a journal to which an
    episode is written when it ends. Ctrl-C loses only the running episodes, and --resume continues the run.

    Examples:
      headless-eval run                                       the bundled policy at the default precisions
      headless-eval run --tasks 1 --episodes 100 --dtypes float32 int8 --modes weights_only both
      headless-eval run --dtypes float32 rtn_w4a8 smoothquant_w8a8 duquant_w4a8
      headless-eval run --policy ./my_policy.py:MyPolicy      an object with openpi's infer(obs)
      headless-eval run --checkpoint DIR --config pi05_droid --gpu 0 --slots 16 --videos failures
      headless-eval run --from run.toml                       settings of a file; --save-settings writes it
      headless-eval run --tasks scene_1 --power 0.05          how many episodes show a drop of 5 points
      headless-eval run --resume results/mine

    Exit status: 0 all episodes ran; 1 some episodes were errors, which count as neither success nor failure; 2 a
    mistake in the flags; 130 interrupted.
    """

    def __post_init__(self) -> None:
        default = self.dtypes == type(self).dtypes and not self.variant
        reason = float32_only(self.policy) if self.checkpoint is None else None
        if reason is not None and default:
            object.__setattr__(self, "dtypes", ("float32",))
        super().__post_init__()
        rounded = [variant.name for variant in self.variants if variant.dtype != UNQUANTIZED]
        if reason is not None and rounded:
            raise UserError(f"{', '.join(rounded)} for the policy {self.policy}: {reason}")
        for text in self.until_width:
            parse_width("--until-width", text)
        if self.sequential is None:
            if self.sequential_on is not None:
                raise UserError(
                    "--sequential-on goes with --sequential MARGIN only, the share of LIMIT that matters"
                )
            return
        if self.until_width:
            raise UserError("--sequential and --until-width both choose which episodes run: give one of them")
        if not 0 < self.sequential < 1:
            raise UserError(
                f"--sequential is {self.sequential:g}; it must be above 0 and below 1 (0.05 is 5 points)"
            )
        if self.baseline not in (variant.name for variant in self.variants):
            raise UserError(
                f"--sequential compares with {self.baseline}, which is missing: add it to --dtypes"
            )

    @classmethod
    def of_flags(cls, flags: Any) -> "RunConfig":
        """Return a run's settings from those of another command; settings that it lacks have their defaults."""
        known = {one.name for one in fields(cls)}
        return cls(**{name: value for name, value in vars(flags).items() if name in known})


def _pair(text: str) -> tuple[str, str]:
    pattern, equals, bits = text.rpartition("=")
    if not equals:
        raise UserError(f"--bits {text!r}: write REGEX=BITS, such as mlp=w8a8")
    return pattern, bits
