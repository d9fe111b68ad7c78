"""The command line: parses each command's flags into its settings and calls the function that runs the command."""

import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import fields
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from headless_eval.cli import duquant_environment
from headless_eval.cli.parse import UnknownWords, first_value, parse, refuse_empty
from headless_eval.errors import UserError
from headless_eval.shared import process
from headless_eval.shared.suggest import unknown

PROGRAM = "headless-eval"

_HELP = f"""usage: {PROGRAM} COMMAND [FLAGS]

Evaluate vision-language-action policies in simulation, headless and in one process, at any numerical
precision.

  {PROGRAM} run              the bundled policy, 3 scenes, 4 precisions: a few minutes on 2 cores
  {PROGRAM} list             list policies, suites with their tasks, dtypes, modes
  {PROGRAM} report DIR       rebuild tables, plots and page from a run's journal
  {PROGRAM} verify DIR       repeat a run's trials and compare every action; verify A B compares two runs
  {PROGRAM} compare A B      two runs side by side: rates, paired differences, where trajectories diverge
  {PROGRAM} gate DIR         exit 1 if a precision drops success significantly; writes JUnit XML
  {PROGRAM} export DIR       the episodes as one table, CSV or Parquet; with --lerobot OUT as a LeRobot dataset
  {PROGRAM} calibrate        record statistics of layer inputs, for methods such as DuQuant
  {PROGRAM} train            train a bundled policy from scratch
  {PROGRAM} doctor           check a checkpoint of openpi or LeRobot before an evaluation
  {PROGRAM} convert SRC DST  write a checkpoint in our format or in openpi's
  {PROGRAM} fetch gs://...   copy a checkpoint into openpi's cache
  {PROGRAM} describe         let a PaliGemma describe an image, at any precision
  {PROGRAM} bench            measure latency, memory and error, and compare them with the chip's limits
  {PROGRAM} profile          show an inference's time by module or kernel, and where rounding errors arise
  {PROGRAM} sensitivity      round one part of the model at a time: which parts tolerate 8 or 4 bits
  {PROGRAM} COMMAND --help   a command's flags, with defaults and examples
  {PROGRAM} --version        the version
"""


class Command(NamedTuple):
    """A command: its settings dataclass and its function, each as ``module:name``.

    Both are imported only when the command is used, because torch and a simulator take seconds to import.
    """

    settings: str
    function: str


COMMANDS = {
    "run": Command("config.run:RunConfig", "runs.run:run"),
    "list": Command("config.catalogue:ListConfig", "cli.catalogue:print_catalogue"),
    "report": Command("config.results:ReportConfig", "report.show:report"),
    "verify": Command("config.results:VerifyConfig", "runs.verify:verify"),
    "compare": Command("config.results:CompareConfig", "report.compare:print_comparison"),
    "gate": Command("config.results:GateConfig", "report.gate:gate"),
    "export": Command("config.results:ExportConfig", "export.command:export"),
    "calibrate": Command("config.calibrate:CalibrateConfig", "runs.calibrate:calibrate_to_file"),
    "train": Command("config.train:TrainConfig", "training:cli_main"),
    "doctor": Command("config.checkpoints:DoctorConfig", "cli.checkpoints:doctor"),
    "convert": Command("config.checkpoints:ConvertConfig", "cli.checkpoints:convert"),
    "fetch": Command("config.checkpoints:FetchConfig", "cli.checkpoints:fetch"),
    "describe": Command("config.describe:DescribeConfig", "cli.describe:describe"),
    "bench": Command("config.performance:BenchConfig", "performance.bench.command:bench"),
    "profile": Command("config.performance:ProfileConfig", "performance.profile.command:profile"),
    "sensitivity": Command(
        "config.performance:SensitivityConfig", "performance.sensitivity.command:sensitivity"
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: the words after the program's name; by default those of the process.

    Returns:
        The exit status: 0 done, 1 some episodes were errors, 2 a mistake in the flags or the input, 130 interrupted,
        141 the reader of the output has closed it.
    """
    name, *words = (sys.argv[1:] if arguments is None else list(arguments)) or ["--help"]
    try:
        if name in ("-h", "--help"):
            print(_HELP, end="")
            return 0
        if name == "--version":
            print(PROGRAM, version(PROGRAM))
            return 0
        if name not in COMMANDS:
            raise unknown("command", name, COMMANDS)
        refuse_empty(words)
        if name == "run":
            return process.end(_run(words))
        return process.end(_carry_out(name, _settings(name, words)))
    except UserError as error:
        print(f"{PROGRAM}: error: {' '.join(str(error).split())}", file=sys.stderr)
        return process.end(2)
    except KeyboardInterrupt as interrupt:
        print(": ".join((PROGRAM, "interrupted", *interrupt.args)), file=sys.stderr)
        return process.end(130)
    except (
        BrokenPipeError
    ):  # whoever read the output, such as head, has enough; what is left of it goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return process.end(141)


def _run(words: list[str]) -> int:
    """Start a run, with the settings of environment variables, or continue a run."""
    if any(word.partition("=")[0] == "--resume" for word in words):
        return _carry_out("run", _settings("run", words, _settings_to_resume(words)))
    from headless_eval.config.run import RunConfig

    request = duquant_environment.read(os.environ) or duquant_environment.Request()
    config = _settings("run", words, RunConfig(**request.settings) if request.settings else None)
    if request.dtype is not None and request.dtype not in (
        precision.dtype for precision in config.precisions
    ):
        raise UserError(
            f"the environment variables {duquant_environment.PREFIX}... ask for {request.dtype}, which --dtypes "
            "lacks: add it, or unset them"
        )
    if request.debug:
        logging.basicConfig(format="%(message)s")
        logging.getLogger("headless_eval.quant").setLevel(logging.INFO)
    try:
        return _carry_out("run", config)
    except UserError as error:
        raise request.explain(error) from error


def _settings_to_resume(words: list[str]) -> Any:
    """Return the stored settings of the run that ``--resume`` names; they are the defaults of the flags.

    Flags that are given again are compared with the stored settings. DuQuant's variables are ignored on resume.
    """
    folder = first_value(words, "--resume")
    if folder is None:
        raise UserError(f"--resume needs a value; see {PROGRAM} run --help")
    from headless_eval.runs.resume import settings_of

    return settings_of(Path(folder))


def _settings(name: str, words: list[str], default: Any = None) -> Any:
    """Return a command's settings from its words.

    Raises:
        UserError: the words are not valid, or a flag belongs to another suite's simulator.
    """
    cls, program = _load(COMMANDS[name].settings), f"{PROGRAM} {name}"
    if "simulator" not in (field.name for field in fields(cls)):
        return parse(cls, words, program, default=default)
    from headless_eval.config.simulation import parts
    from headless_eval.sims.registry import find_suite, of_another_suite

    suite = _suite(cls, words, default)
    another = f"{program} {'--suite NAME' if hasattr(cls, 'suite') else 'DIR'} --help"
    notes = {"Simulator": f" (of the suite {suite}; another's: {another})"}
    try:
        return parse(cls, words, program, default=default, parts=parts(suite), notes=notes)
    except UnknownWords as error:
        options = (word.partition("=")[0] for word in error.words)
        sim = first_value(words, "--sim")
        errors = (of_another_suite(option, find_suite(suite), sim) for option in options)
        raise next(filter(None, errors), error) from None


def _suite(cls: type, words: list[str], default: Any) -> str:
    """Return the name of the suite whose simulators' flags a command takes: from ``--suite``, or from the given run."""
    if hasattr(cls, "suite"):
        return str(first_value(words, "--suite") or (cls if default is None else default).suite)
    from headless_eval.config.run import RunConfig
    from headless_eval.results import RunDirectory

    runs = (Path(word) for word in words if (Path(word) / "manifest.json").is_file())
    return str(next((RunDirectory.open(folder).manifest["suite"] for folder in runs), RunConfig.suite))


def _carry_out(name: str, settings: Any) -> int:
    return int(_load(COMMANDS[name].function)(settings))


def _load(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(f"headless_eval.{module}"), name)
