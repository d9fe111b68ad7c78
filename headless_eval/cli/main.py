"""The commands: each has its flags parsed into a dataclass, which goes to those who do the work."""

import logging
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

from headless_eval.cli import duquant_environment
from headless_eval.cli.parse import first_value, parse, refuse_empty
from headless_eval.config.run import RunConfig
from headless_eval.errors import UserError
from headless_eval.shared.flags import flag
from headless_eval.shared.suggest import unknown

PROGRAM = "headless-eval"

_HELP = f"""usage: {PROGRAM} COMMAND [FLAGS]

Evaluate vision-language-action policies in simulation, headless and in one process, at any numerical
precision.

  {PROGRAM} run              the bundled policy, 3 scenes, 4 precisions: a few minutes on 2 cores
  {PROGRAM} list             what there is: policies, suites with their tasks, dtypes, modes
  {PROGRAM} report DIR       rebuild what derives from a run's journal: tables, plots, page
  {PROGRAM} verify DIR       run a run's trials again and compare every action; verify A B compares two runs
  {PROGRAM} compare A B      two runs side by side: rates, paired differences, where trajectories part
  {PROGRAM} gate DIR         exit 1 if a precision drops success significantly; writes JUnit XML
  {PROGRAM} export DIR       the episodes as one table, CSV or Parquet; with --lerobot OUT as a LeRobot dataset
  {PROGRAM} calibrate        record what methods such as DuQuant choose their factors by
  {PROGRAM} train            train a bundled policy anew
  {PROGRAM} doctor           check a checkpoint of openpi or LeRobot before an evaluation
  {PROGRAM} convert SRC DST  write a checkpoint in our format or in openpi's
  {PROGRAM} fetch gs://...   copy a checkpoint into openpi's cache
  {PROGRAM} bench            measure latency, memory and error beside what the chip allows
  {PROGRAM} profile          say where an inference's time goes, and where rounding does its damage
  {PROGRAM} sensitivity      round one part of the model at a time: which parts may go to 8 bits
  {PROGRAM} COMMAND --help   a command's flags, with defaults and examples
  {PROGRAM} --version        the version
"""

_RUN = f"""Evaluate a policy at several numerical precisions, on the same episodes.

Every precision meets the same initial states and the same flow-matching noise, so that configurations can be
compared in pairs. An episode is on disk when it ends; Ctrl-C loses those under way and no other, and --resume
goes on from there.

Examples:
  {PROGRAM} run
  {PROGRAM} run --tasks scene_1 --episodes 100 --dtypes float32 int8 --modes weights_only both
  {PROGRAM} run --dtypes float32 rtn_w4a8 smoothquant_w8a8 duquant_w4a8
  {PROGRAM} run --policy DIR --gpu 0 --slots 16 --videos failures --results results/mine
  {PROGRAM} run --resume results/mine

Exit status: 0 all episodes ran; 1 some were errors, which count as neither success nor failure; 2 a mistake
in what was asked; 130 interrupted."""


@dataclass(frozen=True)
class ListConfig:
    """Show what there is to run: policies, suites with their tasks, dtypes, modes."""

    suite: Annotated[str | None, flag("NAME")] = None
    """Show the tasks of this suite, however many."""

    json: bool = False
    """Print JSON."""


@dataclass(frozen=True)
class ReportConfig:
    """Rebuild everything that derives from a run's journal: CSV, JSON, plots, page."""

    directory: Annotated[Path, flag("DIR", positional=True)]
    """Folder of the run."""

    detect: Annotated[float | None, flag("DROP")] = None
    """Also say how many episodes would show a drop of the success rate, such as 0.05."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: what follows the program's name; by default the process's.

    Returns:
        The exit status: 0 done, 1 some episodes were errors, 2 a mistake in what was asked, 130 interrupted, 141
        nobody reads the output any more.
    """
    command, *flags = (sys.argv[1:] if arguments is None else list(arguments)) or ["--help"]
    try:
        if command in ("-h", "--help"):
            print(_HELP, end="")
            return 0
        if command == "--version":
            print(PROGRAM, version(PROGRAM))
            return 0
        if command not in _COMMANDS:
            raise unknown("command", command, _COMMANDS)
        return _end_simulator(_COMMANDS[command](flags))
    except UserError as error:
        print(f"{PROGRAM}: error: {' '.join(str(error).split())}", file=sys.stderr)
        return _end_simulator(2)
    except KeyboardInterrupt as interrupt:
        print(": ".join((PROGRAM, "interrupted", *interrupt.args)), file=sys.stderr)
        return _end_simulator(130)
    except (
        BrokenPipeError
    ):  # whoever read the output, such as head, has enough; what is left of it goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _end_simulator(141)


def _end_simulator(status: int) -> int:
    """Return the exit status; Isaac Sim, where it runs, would end the process with another."""
    isaaclab = sys.modules.get("headless_eval.sims.isaaclab_app")
    if isaaclab is not None:
        isaaclab.end_process(status)
    return status


# What a command needs is imported when it is given: torch and a simulator take seconds, --help should not.


def _run(flags: list[str]) -> int:
    if any(flag.partition("=")[0] == "--resume" for flag in flags):
        return _resume(flags)
    asked = duquant_environment.read(os.environ) or duquant_environment.Asked()
    default = RunConfig(**asked.settings) if asked.settings else None
    config = _parse(RunConfig, "run", flags, _RUN, default=default)
    if asked.dtype is not None and asked.dtype not in (precision.dtype for precision in config.precisions):
        raise UserError(
            f"the environment variables {duquant_environment.PREFIX}... ask for {asked.dtype}, which --dtypes "
            "lacks: add it, or unset them"
        )
    if asked.debug:
        logging.basicConfig(format="%(message)s")
        logging.getLogger("headless_eval.quant").setLevel(logging.INFO)
    from headless_eval.runs.run import run

    try:
        return run(config)
    except UserError as error:
        raise asked.explain(error) from error


def _resume(flags: list[str]) -> int:
    refuse_empty(flags)
    folder = first_value(flags, "--resume")
    if folder is None:
        raise UserError(f"--resume needs a value; see {PROGRAM} run --help")
    from headless_eval.runs.resume import settings_of

    # The run's settings are the defaults: what flags say now is compared with what they said. The variables of a
    # new run say nothing here.
    config = _parse(RunConfig, "run", flags, _RUN, default=settings_of(Path(folder)))
    from headless_eval.runs.run import run

    return run(config)


def _list(flags: list[str]) -> int:
    config = _parse(ListConfig, "list", flags)
    from headless_eval.cli.catalogue import print_catalogue

    print_catalogue(config.suite, as_json=config.json)
    return 0


def _report(flags: list[str]) -> int:
    config = _parse(ReportConfig, "report", flags)
    from headless_eval.report.show import report

    return report(config.directory, config.detect)


def _verify(flags: list[str]) -> int:
    from headless_eval.config.results import VerifyConfig

    return int(_parse(VerifyConfig, "verify", flags).run())


def _compare(flags: list[str]) -> int:
    from headless_eval.config.results import CompareConfig

    return int(_parse(CompareConfig, "compare", flags).run())


def _gate(flags: list[str]) -> int:
    from headless_eval.config.results import GateConfig

    return int(_parse(GateConfig, "gate", flags).run())


def _export(flags: list[str]) -> int:
    from headless_eval.config.results import ExportConfig

    return int(_parse(ExportConfig, "export", flags).run())


def _calibrate(flags: list[str]) -> int:
    from headless_eval.config.calibrate import CalibrateConfig

    return int(_parse(CalibrateConfig, "calibrate", flags).run())


def _train(flags: list[str]) -> int:
    from headless_eval.config.train import TrainConfig

    config = _parse(TrainConfig, "train", flags)
    from headless_eval.training import cli_main

    return cli_main(config)


def _doctor(flags: list[str]) -> int:
    from headless_eval.config.checkpoints import DoctorConfig

    return int(_parse(DoctorConfig, "doctor", flags).run())


def _convert(flags: list[str]) -> int:
    from headless_eval.config.checkpoints import ConvertConfig

    return int(_parse(ConvertConfig, "convert", flags).run())


def _bench(flags: list[str]) -> int:
    from headless_eval.config.performance import BENCH, BenchConfig

    return int(_parse(BenchConfig, "bench", flags, BENCH).run())


def _profile(flags: list[str]) -> int:
    from headless_eval.config.performance import PROFILE, ProfileConfig

    return int(_parse(ProfileConfig, "profile", flags, PROFILE).run())


def _sensitivity(flags: list[str]) -> int:
    from headless_eval.config.performance import SENSITIVITY, SensitivityConfig

    return int(_parse(SensitivityConfig, "sensitivity", flags, SENSITIVITY).run())


def _fetch(flags: list[str]) -> int:
    from headless_eval.config.checkpoints import FetchConfig

    return int(_parse(FetchConfig, "fetch", flags).run())


_COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "run": _run,
    "list": _list,
    "report": _report,
    "verify": _verify,
    "compare": _compare,
    "gate": _gate,
    "export": _export,
    "calibrate": _calibrate,
    "train": _train,
    "doctor": _doctor,
    "convert": _convert,
    "fetch": _fetch,
    "bench": _bench,
    "profile": _profile,
    "sensitivity": _sensitivity,
}


def _parse(
    config: type, command: str, flags: list[str], description: str | None = None, default: Any = None
) -> Any:
    refuse_empty(flags)
    return parse(config, flags, f"{PROGRAM} {command}", description, default)
