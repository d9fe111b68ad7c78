"""The flags of the commands about runs that are there; nothing heavy is imported before they are parsed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from headless_eval.errors import UserError
from headless_eval.shared.flags import flag


@dataclass(frozen=True)
class VerifyConfig:
    """Run a finished run's trials again and compare them action by action; or compare two runs.

    With one folder some of its trials are repeated with its manifest's settings; with two, nothing is run.
    Exit status: 0 the same to the last bit; 1 different, with the first trial, replan and action dimension that
    differ; 2 it cannot be repeated here.
    """

    directories: Annotated[tuple[Path, ...], flag("DIR [OTHER]", positional=True)]
    """Folder of the run, and of another to compare it with."""

    all: bool = False
    """Repeat every trial."""

    sample: Annotated[int | None, flag("NUMBER", "10")] = None
    """Repeat this many trials, spread evenly over the run."""

    policy: Annotated[str | None, flag("NAME|DIR", "the run's")] = None
    """Where the policy is on this machine."""

    checkpoint: Annotated[Path | None, flag("DIR", "the run's")] = None
    """Where the checkpoint is on this machine."""

    config_file: Annotated[Path | None, flag("FILE", "the run's")] = None
    """Where the checkpoint's configuration is on this machine."""

    tokenizer: Annotated[Path | None, flag("FILE", "the run's")] = None
    """Where the tokenizer is on this machine."""

    libero_assets: Annotated[Path | None, flag("DIR", "the run's")] = None
    """Where LIBERO's assets are on this machine."""

    gpu: Annotated[int | None, flag("INDEX", "as the run")] = None
    """CUDA device that the policy runs on."""

    slots: Annotated[int | None, flag("NUMBER", "the run's")] = None
    """Episodes at once."""

    def run(self) -> int:
        """Do it; returns the exit status."""
        from headless_eval.runs.verify import SAMPLE, compare_runs, verify

        names = ("policy", "checkpoint", "config_file", "tokenizer", "libero_assets", "gpu", "slots")
        changes = {name: value for name in names if (value := getattr(self, name)) is not None}
        match self.directories:
            case (one, other):
                if self.all or self.sample is not None or changes:
                    raise UserError("with two folders nothing is run: leave the other flags out")
                return compare_runs(one, other)
            case (one,):
                if self.all and self.sample is not None:
                    raise UserError("--all and --sample both given: choose one")
                return verify(one, sample=None if self.all else self.sample or SAMPLE, changes=changes)
        raise UserError("verify takes the folder of a run, or two of them")

    def __post_init__(self) -> None:
        if self.sample is not None and self.sample < 1:
            raise UserError(f"--sample is {self.sample}; it must be 1 or more")


@dataclass(frozen=True)
class CompareConfig:
    """Set two runs of one suite beside each other: two simulators, two checkpoints, two versions.

    Prints for each task and precision of both the success rates with intervals, the difference over the episodes
    with the same seed, and where the executed actions part; then what the two runs' manifests differ in.
    """

    run_a: Annotated[Path, flag("RUN_A", positional=True)]
    """Folder of the run to compare with."""

    run_b: Annotated[Path, flag("RUN_B", positional=True)]
    """Folder of the run that is compared."""

    json: bool = False
    """Print JSON."""

    def run(self) -> int:
        """Do it; returns the exit status."""
        from headless_eval.report.compare import print_comparison

        return print_comparison(self.run_a, self.run_b, as_json=self.json)


@dataclass(frozen=True)
class GateConfig:
    """Fail if a precision drops success significantly: for continuous integration.

    Exit status: 0 none does; 1 one does, or a run is not whole or has errors; 2 there is nothing to judge.
    """

    directory: Annotated[Path, flag("DIR", positional=True)]
    """Folder of the run."""

    max_drop: Annotated[float, flag("DROP", "0.05")] = 0.05
    """The drop of the success rate against the baseline that is allowed."""

    junit: Annotated[Path | None, flag("FILE", "none")] = None
    """Write the judgements as JUnit XML."""

    def run(self) -> int:
        """Do it; returns the exit status."""
        from headless_eval.report.gate import gate

        return gate(self.directory, self.max_drop, self.junit)


@dataclass(frozen=True)
class ExportConfig:
    """Write runs as one long table, a row per trial; or a run's rollouts as a LeRobot dataset."""

    directories: Annotated[tuple[Path, ...], flag("DIR [DIR ...]", positional=True)]
    """Folders of the runs."""

    output: Annotated[Path | None, flag("FILE", "DIR/episodes.csv")] = None
    """The file."""

    format: Annotated[Literal["csv", "parquet"] | None, flag("csv|parquet", "what the file's name says")] = (
        None
    )
    """CSV, or Parquet, which needs pyarrow."""

    lerobot: Annotated[Path | None, flag("OUT", "none")] = None
    """Folder for a LeRobot dataset (v2.1) of one run's episodes, simulated again; instead of a table."""

    configuration: Annotated[tuple[str, ...], flag("NAME ...", "the baseline")] = ()
    """With --lerobot: the configurations whose episodes to write."""

    def run(self) -> int:
        """Do it; returns the exit status."""
        if self.lerobot is None:
            if self.configuration:
                raise UserError("--configuration goes with --lerobot only: a table has all configurations")
            from headless_eval.export.table import export

            print(export(self.directories, self.output, self.format))
            return 0
        if self.output is not None or self.format is not None:
            raise UserError("--lerobot writes a dataset and no table: leave --output and --format out")
        if len(self.directories) != 1:
            raise UserError("--lerobot takes the folder of one run")
        from headless_eval.export.lerobot import export_lerobot

        print(export_lerobot(self.directories[0], self.lerobot, self.configuration))
        return 0
