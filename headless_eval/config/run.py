"""What a run is."""

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from headless_eval.contracts.variant import DEFAULT_BASELINE, Variant
from headless_eval.errors import UserError
from headless_eval.policies.baselines import BASELINES
from headless_eval.quant.precision import Precision, Scope, configurations
from headless_eval.shared.flags import flag
from headless_eval.shared.suggest import unknown

EngineChoice = Literal["auto", "eager", "compiled", "fused"]
ExecutionChoice = Literal["simulated", "native"]
VideoChoice = Literal["all", "failures", "none"]

_MOST_EPISODES = 100_000


@dataclass(frozen=True)
class RunConfig:
    """One run; its fields are the flags of ``headless-eval run``, and their docstrings the help.

    Raises:
        UserError: if a value is out of range, or a dtype, a mode or an expression is none.
    """

    suite: str = "droid"
    """Suite of tasks."""

    tasks: Annotated[tuple[str, ...], flag("TASK ...", "all", "--scenes")] = ()
    """Tasks by number or key, such as 1 or scene_1."""

    episodes: int = 5
    """Episodes per task and configuration."""

    dtypes: Annotated[tuple[str, ...], flag("DTYPE ...")] = (
        "float32",
        "bfloat16",
        "float8_e4m3",
        "boolean",
    )
    """Data types, or methods such as duquant_w4a8, smoothquant_w8a8 and rtn_w4a8_g64; `list` has them all.
    float32 is the unquantized model, and runs once whatever the modes. zero and random have no other."""

    modes: Annotated[tuple[str, ...], flag("MODE ...")] = ("weights_only",)
    """What to quantize: weights_only, activations_only, both."""

    include: Annotated[str, flag("REGEX", "all")] = ".*"
    """Quantize only modules with this in their name."""

    exclude: Annotated[str | None, flag("REGEX", "none")] = None
    """Do not quantize modules with this in their name."""

    bits: Annotated[tuple[str, ...], flag("REGEX=BITS ...", "the method's")] = ()
    """Bits of layers by name, under a method: mlp=w8a8, expert=w8, vision=a16; the first that matches counts."""

    baseline: Annotated[str, flag("NAME")] = DEFAULT_BASELINE
    """What the others are compared with, such as bfloat16_weights_only."""

    calibration: Annotated[Path | None, flag("FILE", "the run makes its own")] = None
    """What `calibrate` wrote, for methods that need it."""

    calibration_steps: int = 32
    """Observations that the run's own calibration uses, from 3 episodes that it does not evaluate."""

    packdir: Annotated[Path | None, flag("DIR", "none")] = None
    """Keep the packed weights of methods here, and read them the next time."""

    policy: Annotated[str, flag("NAME|DIR")] = "pi0-droid-tiny"
    """A bundled policy, or a folder with config.toml, weights and normalisation statistics."""

    checkpoint: Annotated[Path | None, flag("DIR", "the policy's")] = None
    """Folder of openpi (JAX or PyTorch; name its --config) or LeRobot; or gs://... or a hub id, if cached."""

    config: Annotated[str | None, flag("NAME", "the policy's")] = None
    """Configuration of the checkpoint by name, such as pi05_droid."""

    config_file: Annotated[Path | None, flag("FILE", "the policy's")] = None
    """Configuration of the checkpoint as TOML or JSON."""

    tokenizer: Annotated[Path | None, flag("FILE", "the policy's, or in $OPENPI_DATA_HOME")] = None
    """SentencePiece model."""

    gpu: Annotated[int | None, flag("INDEX", "the policy runs on the CPU")] = None
    """CUDA device that the policy runs on."""

    engine: EngineChoice = "auto"
    """What computes the policy: auto is the fastest here, eager plain PyTorch."""

    execution: ExecutionChoice = "simulated"
    """Round to a precision's values (simulated), or compute with its types (native; engine fused on a GPU)."""

    open_loop_horizon: Annotated[int | None, flag("STEPS", "the policy's")] = None
    """Control steps between two looks of the policy: actions executed of each chunk."""

    flow_steps: Annotated[int | None, flag("STEPS", "the policy's")] = None
    """Euler steps of flow matching."""

    sim: Annotated[str | None, flag("NAME", "the suite's")] = None
    """Simulator: mujoco; isaaclab for the suite droid."""

    physics: Annotated[str | None, flag("newton|physx", "newton; physx with --isaac-assets")] = None
    """Isaac Lab's physics engine; physx needs Isaac Sim."""

    renderer: Annotated[str | None, flag("newton|rtx", "newton; rtx with --isaac-assets")] = None
    """Isaac Lab's renderer; rtx needs Isaac Sim."""

    sim_device: Annotated[str | None, flag("cpu|cuda", "cpu; cuda with rtx")] = None
    """What Isaac Lab simulates and draws on."""

    isaac_assets: Annotated[Path | None, flag("DIR", "the scenes of this package")] = None
    """Folder with scene1.usd to scene3.usd, the published DROID scenes, for Isaac Lab."""

    libero_assets: Annotated[Path | None, flag("DIR", "$LIBERO_ASSETS, then LIBERO's own")] = None
    """Folder of assets (meshes, textures, scenes) for the LIBERO suites."""

    seed: int = 7
    """With the task and the episode's index it fixes initial states and flow noise."""

    slots: int = 4
    """Episodes at once, in one process; changes the speed, never a result."""

    sequential: Annotated[float | None, flag("MARGIN", "off")] = None
    """Stop a precision once it is decided: worse than the baseline, or not worse by MARGIN (0.05 is 5 points)."""

    videos: VideoChoice = "all"
    """Which episodes to keep as H.264; errors count among the failures here."""

    video_fps: float = 5.0
    """Frames per second of the videos, which play in real time; no more than the control rate."""

    results: Annotated[Path | None, flag("DIR", "results/<date>_<time>")] = None
    """Folder for the results; it may not hold a run yet."""

    resume: Annotated[Path | None, flag("DIR", "a new run")] = None
    """Continue the run in this folder, with its settings; no other flag is needed."""

    force: bool = False
    """Continue although settings, code, versions or weights have changed; the manifest keeps the differences."""

    retries: int = 0
    """How often an episode that ends in an error is tried again."""

    episode_timeout: float = 1800.0
    """Seconds after which an episode that is not over is an error; also for a step that never returns."""

    dry_run: bool = False
    """Print which layers a method gives which bits, and stop."""

    quiet: bool = False
    """Print the path of the results and nothing else."""

    log_json: bool = False
    """Print a JSON line per event (start, episode, end) and nothing else."""

    def __post_init__(self) -> None:
        least = {"episodes": 1, "slots": 1, "seed": 0, "gpu": 0, "open_loop_horizon": 1, "flow_steps": 1}
        least |= {"retries": 0, "calibration_steps": 1}
        for name, bound in least.items():
            value = getattr(self, name)
            if value is not None and value < bound:
                raise UserError(f"--{name.replace('_', '-')} is {value}; it must be {bound} or more")
        if self.episodes > _MOST_EPISODES:
            raise UserError(f"--episodes is {self.episodes}; it must be {_MOST_EPISODES} or less")
        for name in ("tasks", "dtypes", "modes"):
            for value in getattr(self, name):
                if "," in value:
                    raise UserError(f"--{name} {value}: separate them by spaces, not by commas")
        if not (math.isfinite(self.video_fps) and self.video_fps > 0):
            raise UserError(f"--video-fps is {self.video_fps:g}; it must be above 0")
        if not self.episode_timeout > 0:
            raise UserError(f"--episode-timeout is {self.episode_timeout:g}; it must be above 0")
        if self.force and self.resume is None:
            raise UserError("--force goes with --resume only: a new run never overwrites anything")
        choices = {"videos": VideoChoice, "engine": EngineChoice, "execution": ExecutionChoice}
        for name, choice in choices.items():
            *others, last = get_args(choice)
            if (value := getattr(self, name)) not in (*others, last):
                raise UserError(f"--{name} is {value!r}; it must be {', '.join(others)} or {last}")
        if self.policy in BASELINES and self.checkpoint is None and self.dtypes == type(self).dtypes:
            object.__setattr__(self, "dtypes", ("float32",))
        precisions = self.precisions
        for flag_given in ("bits", "calibration", "dry_run"):
            if getattr(self, flag_given) and not any(precision.method for precision in precisions):
                name = flag_given.replace("_", "-")
                raise UserError(
                    f"--{name} is for methods, and --dtypes names none: add one, such as duquant_w4a8"
                )
        names = [variant.name for variant in self.variants]
        if self.baseline != DEFAULT_BASELINE and self.baseline not in names:
            raise unknown("baseline", self.baseline, names)
        if self.sequential is None:
            return
        if not 0 < self.sequential < 1:
            raise UserError(
                f"--sequential is {self.sequential:g}; it must be above 0 and below 1 (0.05 is 5 points)"
            )
        if self.baseline not in names:
            raise UserError(
                f"--sequential compares with {self.baseline}, which is missing: add it to --dtypes"
            )

    @classmethod
    def of_flags(cls, flags: Any) -> "RunConfig":
        """Return the run whose settings another command's flags, a dataclass, name; the others are the defaults."""
        known = {one.name for one in fields(cls)}
        return cls(**{name: value for name, value in vars(flags).items() if name in known})

    @property
    def precisions(self) -> list[Precision]:
        """The configurations to run, float32 first."""
        bits = tuple(_pair(text) for text in self.bits)
        return configurations(self.dtypes, self.modes, Scope(self.include, self.exclude, bits))

    @property
    def variants(self) -> list[Variant]:
        """The variants to run, the baseline first, then float32."""
        variants = [Variant(precision) for precision in self.precisions]
        return sorted(variants, key=lambda variant: variant.name != self.baseline)

    @property
    def needs_calibration(self) -> bool:
        """Whether a method does."""
        methods = [precision.method for precision in self.precisions]
        return any(method is not None and method.needs_calibration for method in methods)

    @property
    def device(self) -> str:
        """The policy's device, as torch names it."""
        return "cpu" if self.gpu is None else f"cuda:{self.gpu}"


def _pair(text: str) -> tuple[str, str]:
    pattern, equals, bits = text.rpartition("=")
    if not equals:
        raise UserError(f"--bits {text!r}: write REGEX=BITS, such as mlp=w8a8")
    return pattern, bits
