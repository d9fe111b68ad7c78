"""The settings of the commands that read the folder of a run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from headless_eval.config.margins import Margin, parse_margin
from headless_eval.errors import UserError
from headless_eval.shared.flags import Settings, declared, flag, flat


@dataclass(frozen=True, kw_only=True)
class ReportConfig(Settings):
    """Rebuild all files that are derived from a run's journal: CSV, JSON, plots, page.

    Results of lerobot-eval (eval_info.json) and of vla-eval (recording-*.sqlite) are read, too, and not changed.
    Several such files, with names if you like, are the variants of one report; the first is the baseline.

    Examples:
      headless-eval report results/20261121_101500
      headless-eval report float32=a/eval_info.json int8=b/eval_info.json --output report
    """

    runs: Annotated[tuple[str, ...], flag("DIR|[NAME=]FILE ...", positional=True)]
    """Folder of the run, or files of lerobot-eval or vla-eval."""

    output: Annotated[Path | None, flag("FOLDER", hidden=("--out",))] = None
    """Folder for the report of other evaluators' files, which they need."""

    assume_paired: bool = False
    """Where seeds are not recorded: equal numbers are the same episodes."""

    detect: Annotated[float | None, flag("DROP")] = None
    """Also print how many episodes would show this drop (0.05: 5 points)."""

    threshold: Annotated[float, flag("RATE")] = 0.5
    """Success rate at which the threshold of graded tasks lies."""

    track: Annotated[tuple[str, ...], flag("TRACKER ...", "none")] = ()
    """Send rates, page and videos to wandb, mlflow, trackio or tensorboard."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.detect is not None and not 0 < self.detect <= 1:
            raise UserError(
                f"--detect is {self.detect:g}; it must be above 0 and at most 1 (0.05 for 5 points)"
            )
        if not 0 < self.threshold < 0.9:
            raise UserError(f"--threshold is {self.threshold:g}; it must be above 0 and below 0.9")


@dataclass(frozen=True, kw_only=True)
class TrustConfig(Settings):
    """Let a run from elsewhere name code and addresses that you have not used yet.

    The folder of a run names the policy, the suite and the methods that were used. If they are somebody's own code, or
    a server, `run --resume`, `verify`, `certify`, `sensitivity` and exports that simulate refuse them, until you have
    used them in a run of your own, or trust the run. Look at the names first: such code can do whatever you can.
    """

    directory: Annotated[Path, flag("DIR", positional=True)]
    """Folder of the run, or of a matrix of runs."""


@dataclass(frozen=True, kw_only=True)
class CertifyConfig(Settings):
    """Write a certificate of a run: one small file, from which others can check what the run claims.

    It has the hashes of code, weights, assets, tokenizer and calibration, of every episode's initial state and actions;
    hardware, versions and the statistics. `verify FILE` checks it. Nothing in it tells where files lay. With --sign,
    the signature is a second file, FILE.sig, which ssh-keygen alone can check, too (FILE.minisig for a minisign key).
    """

    directory: Annotated[Path, flag("DIR", positional=True)]
    """Folder of the run."""

    out: Annotated[Path | None, flag("FILE", "DIR/certificate.json", hidden=("--output",))] = None
    """File to write; packed if the name ends with .gz."""

    sign: Annotated[Path | None, flag("KEY", "no signature")] = None
    """SSH key (or minisign secret key) that signs the file."""


@dataclass(frozen=True, kw_only=True)
class CertificateSettings(Settings):
    """How a certificate is checked."""

    GROUP: ClassVar[str] = "Certificate"

    signers: Annotated[Path | None, flag("FILE", "not checked")] = None
    """Who may have signed: an allowed_signers file, or minisign's .pub."""

    signature: Annotated[Path | None, flag("FILE", "FILE.sig or .minisig")] = None
    """Signature of the certificate."""

    without_running: bool = False
    """Run no episode: check signature and statistics alone."""

    sample_seed: Annotated[int | None, flag("NUMBER", "a new one", least=0)] = None
    """Draws the sample; another seed, another sample."""

    suite: Annotated[str | None, flag("SUITE", "the certificate's")] = None
    """Suite of your own that the certificate is of."""

    method: Annotated[tuple[str, ...], flag("METHOD ...", "none")] = ()
    """Methods of your own that the certificate's variants need."""

    policy_args: Annotated[tuple[str, ...], flag("NAME=VALUE ...", "none")] = ()
    """Arguments of your own policy that the certificate is of."""

    calibration: Annotated[Path | None, flag("FILE", "recorded anew")] = None
    """The run's calibration.safetensors, for methods that need it."""


@dataclass(frozen=True, kw_only=True)
class MachineSettings(Settings):
    """Where things lie on this machine, for commands that use a run's policy and simulator again."""

    GROUP: ClassVar[str] = "On this machine"

    policy: Annotated[str | None, flag("NAME|DIR", "the run's")] = None
    """Path of the policy on this machine."""

    checkpoint: Annotated[Path | None, flag("DIR", "the run's")] = None
    """Path of the checkpoint on this machine."""

    config_file: Annotated[Path | None, flag("FILE", "the run's")] = None
    """Path of the checkpoint's configuration on this machine."""

    tokenizer: Annotated[Path | None, flag("FILE", "the run's")] = None
    """Path of the tokenizer on this machine."""

    gpu: Annotated[int | None, flag("INDEX", "as the run", least=0)] = None
    """CUDA device that the policy runs on."""

    simulator: Annotated[Any, flag(part=True)] = None
    """Settings of the simulator that replace the run's; None: all are the run's."""

    @property
    def changes(self) -> dict[str, object]:
        """Settings that replace those of the run, by name."""
        names = [setting.name for setting in declared(MachineSettings) if not setting.flag.part]
        given = {name: getattr(self, name) for name in names}
        if self.simulator is not None:
            given |= {setting.name: value for setting, value in flat(self.simulator)}
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class VerifyConfig(CertificateSettings, MachineSettings):
    """Run a finished run's trials again and compare them action by action; or compare two runs; or check a certificate.

    With one folder, a sample of its trials is repeated with the manifest's settings; with two folders, no trial is run.
    With a file that `certify` wrote, every statement in it is checked, and a random sample of its episodes repeated. A
    certificate chooses no code and no files: what is not part of headless-eval you name by a flag, and its hash is
    checked.

    Exit status: 0 the same to the last bit, or every statement of the certificate holds; 1 different, with the first
    trial, replan and action dimension that differ, or a statement does not hold; 2 the run cannot be repeated on this
    machine, or the file cannot be read.
    """

    directories: Annotated[tuple[Path, ...], flag("DIR [OTHER] | FILE", positional=True)] = ()
    """Folder of the run, of another to compare; or a certificate."""

    all: bool = False
    """Repeat every trial."""

    sample: Annotated[int | None, flag("NUMBER", "10", least=1)] = None
    """Repeat this many trials, spread evenly (of a certificate: at random)."""

    slots: Annotated[int | None, flag("NUMBER", "the run's", least=1)] = None
    """Episodes at once."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= len(self.directories) <= 2:
            raise UserError("verify takes the folder of a run, or two of them, or a certificate's file")
        if len(self.directories) == 2 and (self.all or self.sample is not None or self.changes):
            raise UserError("with two folders nothing is run: leave the other flags out")
        if self.all and self.sample is not None:
            raise UserError("--all and --sample both given: choose one")
        for setting in declared(CertificateSettings):
            if getattr(self, setting.name) != setting.default and not self.of_certificate:
                raise UserError(
                    f"{setting.option} goes with a certificate's file only: leave it out for a folder"
                )

    @property
    def of_certificate(self) -> bool:
        """Whether a file is given instead of a folder."""
        return len(self.directories) == 1 and self.directories[0].is_file()

    @property
    def changes(self) -> dict[str, object]:
        """Settings that replace those of the run, by name."""
        more = {"slots": self.slots, "calibration": self.calibration}
        return super().changes | {name: value for name, value in more.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class DivergenceConfig(MachineSettings):
    """Ask each variant what it would have done on the baseline's own path, without running its episodes.

    The baseline's recorded actions are simulated again; at each of its replans every variant gets the same observation
    and the same flow-matching noise. The differences of the actions are added to the run's folder (divergence.csv) and
    its report. Variants that the run does not have may be asked, too.

    Examples:
      headless-eval divergence results/20261121_101500
      headless-eval divergence results/mine --dtypes int8 int4 rtn_w3a8 --modes both --episodes 15

    Exit status: 0 all were asked; 1 some could not be; 2 the run cannot be simulated again here.
    """

    directories: Annotated[tuple[Path, ...], flag("DIR", positional=True)] = ()
    """Folder of the run."""

    dtypes: Annotated[tuple[str, ...], flag("DTYPE ...", "the run's variants")] = ()
    """Data types and methods to ask, with --modes."""

    modes: Annotated[tuple[str, ...], flag("MODE ...")] = ("weights_only",)
    """What to quantize: weights_only, activations_only, both."""

    variant: Annotated[tuple[str, ...], flag("VARIANT ...", "the run's variants")] = ()
    """Variants one by one instead, such as int8_both or float32+flow_steps=5."""

    episodes: Annotated[int, flag(least=1)] = 5
    """Episodes of each task, from the first."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.directories) != 1:
            raise UserError("divergence takes the folder of one run")
        if self.dtypes and self.variant:
            raise UserError("--dtypes and --variant both given: choose one")
        if self.modes != type(self).modes and not self.dtypes:
            raise UserError("--modes goes with --dtypes only: name the data types, too")


@dataclass(frozen=True, kw_only=True)
class CompareConfig(Settings):
    """Compare runs of one suite: simulators, checkpoints, versions; or any variants of them.

    Prints the success rates with intervals, by task and precision; the differences over the same episodes, with
    p-values after Holm's correction over all comparisons; for two runs the step at which the executed actions diverge;
    then the differences between the manifests. DIR:VARIANT is one variant of a run, by its name or its dtype.

    Results of lerobot-eval (eval_info.json) compare with each other, too, and so do vla-eval's (recording-*.sqlite).

    Examples:
      headless-eval compare results/mujoco results/isaaclab
      headless-eval compare results/step1000 results/step2000 results/step3000
      headless-eval compare results/a:float32 results/b:int4_both
      headless-eval compare a/eval_info.json b/eval_info.json
    """

    runs: Annotated[tuple[str, ...], flag("RUN[:VARIANT] ...", positional=True)] = ()
    """Folders of runs, or their variants, or files of other evaluators."""

    with_first: bool = False
    """Compare the others with the first only, which corrects for fewer comparisons."""

    assume_paired: bool = False
    """Where seeds are not recorded: equal numbers are the same episodes."""

    json: bool = False
    """Print JSON."""


@dataclass(frozen=True, kw_only=True)
class ViewConfig(Settings):
    """Write a page that lists all runs below a folder, newest first, with links to their reports.

    The page is one file, which needs no server. Runs that are incomplete or cannot be read are listed as such. Files of
    lerobot-eval (eval_info.json) and vla-eval (recording-*.sqlite) are listed, too.
    """

    directory: Annotated[Path, flag("DIR", positional=True)]
    """Folder below which the runs are."""

    output: Annotated[Path | None, flag("FILE", "DIR/index.html", hidden=("--out",))] = None
    """File to write."""


@dataclass(frozen=True, kw_only=True)
class GateConfig(Settings):
    """Pass only if no precision drops success by more than is allowed: for continuous integration.

    A precision passes if the 95 % interval of its paired difference lies within the allowed drop, fails if it lies
    beyond, and is inconclusive otherwise; the gate then says how many episodes would decide. Outcomes such as
    time_to_success, path_length or final_error are judged in the same way with --max-change.

    Exit status: 0 all pass; 1 a precision fails or is inconclusive, or the run is incomplete or has errors; 2 nothing
    to judge.

    Of lerobot-eval (eval_info.json) and vla-eval (recording-*.sqlite) give several files, with names if you like, the
    baseline first.

    Examples:
      headless-eval gate results/20261121_101500 --max-drop 0.05 --junit gate.xml
      headless-eval gate results/20261121_101500 --max-change time_to_success=10% final_error=1mm
      headless-eval gate float32=a/eval_info.json int8=b/eval_info.json --assume-paired
    """

    runs: Annotated[tuple[str, ...], flag("DIR|[NAME=]FILE ...", positional=True)]
    """Folder of the run, or files of lerobot-eval or vla-eval."""

    assume_paired: bool = False
    """Where seeds are not recorded: equal numbers are the same episodes."""

    max_drop: Annotated[float, flag("DROP", "0.05, 5 points")] = 0.05
    """Allowed drop of the success rate below the baseline's."""

    max_change: Annotated[tuple[str, ...], flag("OUTCOME=MARGIN ...", "none", adds=True)] = ()
    """Allowed changes of outcomes for the worse: path_length=10%, final_error=1mm."""

    junit: Annotated[Path | None, flag("FILE", "none")] = None
    """Write the judgements as JUnit XML."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.max_drop < 1:
            raise UserError(
                f"--max-drop is {self.max_drop:g}; it must be 0 or more and below 1 (0.05 for 5 points)"
            )
        _ = self.margins

    @property
    def margins(self) -> list[Margin]:
        """The allowed changes of outcomes."""
        return [parse_margin("--max-change", text) for text in self.max_change]


@dataclass(frozen=True, kw_only=True)
class ExportConfig(Settings):
    """Write runs as one long table with a row per trial, rollouts as a LeRobot dataset, or an episode for Rerun."""

    directories: Annotated[tuple[Path, ...], flag("DIR [DIR ...]", positional=True)] = ()
    """Folders of the runs."""

    output: Annotated[Path | None, flag("FILE", "DIR/episodes.csv", hidden=("--out",))] = None
    """File to write."""

    format: Annotated[Literal["csv", "parquet"] | None, flag("csv|parquet", "what the file's name says")] = (
        None
    )
    """CSV, or Parquet, which needs pyarrow."""

    lerobot: Annotated[Path | None, flag("DIR", "none")] = None
    """Folder for a LeRobot dataset instead: episodes simulated again."""

    dataset_version: Literal["v3.0", "v2.1"] = "v3.0"
    """Layout of the LeRobot dataset; LeRobot before 0.4 reads v2.1."""

    configuration: Annotated[tuple[str, ...], flag("NAME ...", "the baseline")] = ()
    """Configurations whose episodes the LeRobot dataset contains."""

    rerun: Annotated[Path | None, flag("FILE.rrd", "none")] = None
    """File for Rerun instead: cameras, state and actions of an episode."""

    episode: Annotated[str | None, flag("TASK:NUMBER", "the first")] = None
    """Episode for Rerun, such as scene_1:3, of --configuration or the first variant."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.lerobot is not None and self.rerun is not None:
            raise UserError("--lerobot and --rerun both given: choose one")
        option = "--lerobot" if self.lerobot is not None else "--rerun"
        if self.lerobot is None and self.rerun is None:
            if self.configuration:
                raise UserError(
                    "--configuration goes with --lerobot or --rerun only: a table has all configurations"
                )
        elif self.output is not None or self.format is not None:
            raise UserError(f"{option} writes no table: leave --output and --format out")
        elif len(self.directories) != 1:
            raise UserError(f"{option} takes the folder of one run")
        if self.episode is not None and self.rerun is None:
            raise UserError("--episode goes with --rerun only")
        if self.rerun is not None and len(self.configuration) > 1:
            raise UserError("--rerun shows an episode of one configuration: name one")
