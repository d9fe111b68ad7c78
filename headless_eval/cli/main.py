"""The command line: parses each command's flags into its settings and calls the function that runs the command."""

import errno
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

from headless_eval.cli import duquant_environment
from headless_eval.cli.commands import COMMANDS, PROGRAM, load, overview
from headless_eval.cli.parse import (
    UnknownWords,
    first_value,
    given_names,
    parse,
    refuse_empty,
    refuse_unreadable,
)
from headless_eval.errors import UserError, exit_status
from headless_eval.shared import process
from headless_eval.shared.memory import out_of_memory
from headless_eval.shared.suggest import unknown
from headless_eval.shared.terminal import drop_output, flush, say, write_what_fits

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: the words after the program's name; by default those of the process.

    Returns:
        The exit status: 0 done, 1 some episodes were errors, 2 a mistake in the flags or the input, 130 interrupted,
        141 the reader of the output has closed it.
    """
    write_what_fits()
    if arguments is None:
        process.interrupt_once()
    name, *words = (sys.argv[1:] if arguments is None else list(arguments)) or ["--help"]
    try:
        if name in ("-h", "--help"):
            print(overview())
            return 0
        if name == "--version":
            print(PROGRAM, version(PROGRAM))
            return 0
        if name not in COMMANDS:
            raise unknown("command", name, COMMANDS)
        refuse_unreadable(words)
        refuse_empty(words)
        status = _run(words) if name == "run" else _carry_out(name, _settings(name, words))
        flush()
        return process.end(status)
    except UserError as error:
        if error.details:
            say(error.details)
        return _failed(error, exit_status(error))
    except KeyboardInterrupt as interrupt:
        if arguments is None:
            process.ignore_interrupts()
        say(": ".join((PROGRAM, "interrupted", *interrupt.args)))
        return process.end(exit_status(interrupt))
    except BrokenPipeError as error:
        # Whoever read the output, such as head, has enough; what is left of it goes nowhere.
        drop_output()
        return process.end(exit_status(error))
    except (OSError, MemoryError, ImportError, RuntimeError) as error:
        known = _output_is_full(error) or out_of_memory(error)
        if known is None:
            raise
        return _failed(known, exit_status(error))  # which a run's manifest states, too


def _output_is_full(error: Exception) -> UserError | None:
    """Return the line to show where standard output takes no more, and let it go nowhere; None for other errors."""
    if not isinstance(error, OSError) or error.errno not in _FULL:
        return None
    drop_output()
    return UserError(f"the output cannot be written: {error.strerror}")


def _failed(error: UserError, status: int) -> int:
    """Print the line of an error, and return the exit status."""
    say(f"{PROGRAM}: error: {' '.join(str(error).split())}")
    return process.end(status)


def _run(words: list[str]) -> int:
    """Start a run or a matrix of runs, with the settings of a file and of environment variables, or continue one."""
    if any(word.partition("=")[0] == "--resume" for word in words):
        return _resume(words)
    from headless_eval.config.run import RunConfig

    request = duquant_environment.read(os.environ) or duquant_environment.Request()
    planned = _planned(words, RunConfig(**request.settings) if request.settings else None)
    for _, _, config in planned:
        if request.dtype not in (None, *(precision.dtype for precision in config.precisions)):
            raise UserError(
                f"the environment variables {duquant_environment.PREFIX}... ask for {request.dtype}, which --dtypes "
                "lacks: add it, or unset them"
            )
    if request.debug:
        logging.basicConfig(format="%(message)s")
        logging.getLogger("headless_eval.quant").setLevel(logging.INFO)
    try:
        return _carry_out_planned(planned)
    except UserError as error:
        raise request.explain(error) from error


def _planned(words: list[str], default: Any) -> list[tuple[str, dict[str, Any], Any]]:
    """Return the settings of each run that a command line and perhaps a file describe.

    Returns:
        Label, the settings that the other runs do not share, and all settings; the label of the only run is empty.
    """
    if not any(word.partition("=")[0] == "--from" for word in words):
        return [("", {}, _settings("run", words, default))]
    file, suite = first_value(words, "--from"), first_value(words, "--suite")
    if file is None:
        raise UserError(f"--from needs a value; see {PROGRAM} run --help")
    from headless_eval.config import settings_file
    from headless_eval.config.run import RunConfig
    from headless_eval.config.simulation import parts

    path = Path(file)
    values = settings_file.read_settings(path)
    given = given_names(RunConfig, words, parts(suite or settings_file.suites_of(values)[0]))
    found = settings_file.combinations(path, values, given, suite)
    return [(one.label, dict(one.axes), _settings("run", words, default, one.values)) for one in found]


def _carry_out_planned(planned: list[tuple[str, dict[str, Any], Any]]) -> int:
    """Start the only run or the matrix; or tell about its power, or write its settings."""
    config = planned[0][2]
    if config.save_settings is not None:
        if len(planned) > 1:
            raise UserError("--save-settings writes the settings of one run, and --from describes several")
        from headless_eval.config.settings_file import save

        save(config, config.save_settings)
        return 0
    if config.power is not None:
        from headless_eval.runs.power import print_power

        for _, _, one in planned:
            print_power(one)
        return 0
    if len(planned) == 1:
        return _carry_out("run", config)
    from headless_eval.runs.matrix import Cell, run_matrix

    return run_matrix([Cell(*one) for one in planned])


def _resume(words: list[str]) -> int:
    """Continue a run or a matrix with its stored settings, which are the defaults of the flags.

    Flags that are given again are compared with the stored settings. DuQuant's variables are ignored on resume.
    """
    folder = first_value(words, "--resume")
    if folder is None:
        raise UserError(f"--resume needs a value; see {PROGRAM} run --help")
    if first_value(words, "--from") is not None:
        raise UserError(
            "--resume and --from: a run is continued with its own settings; leave one of them out"
        )
    from headless_eval.runs.resume import is_matrix, settings_of

    if is_matrix(Path(folder)):
        from headless_eval.runs.matrix import resume_matrix

        return resume_matrix(Path(folder), lambda kept: _settings("run", words, kept))
    return _carry_out_planned([("", {}, _settings("run", words, settings_of(Path(folder))))])


def _settings(
    name: str, words: list[str], default: Any = None, below: Mapping[str, Any] | None = None
) -> Any:
    """Return a command's settings from its words; ``default`` and ``below`` as of ``parse``.

    Raises:
        UserError: the words are not valid, or a flag belongs to another suite's simulator.
    """
    cls, program = load(COMMANDS[name].settings), f"{PROGRAM} {name}"
    if "simulator" not in (field.name for field in fields(cls)):
        return parse(cls, words, program, default=default)
    from headless_eval.config.simulation import parts
    from headless_eval.sims.registry import find_suite, of_another_suite

    suite = str((below or {}).get("suite") or "") or _suite(cls, words, default)
    another = f"{program} {'--suite NAME' if hasattr(cls, 'suite') else 'DIR'} --help"
    notes = {"Simulator": f" (of the suite {suite}; another's: {another})"}
    try:
        return parse(cls, words, program, default=default, parts=parts(suite), notes=notes, below=below)
    except UnknownWords as error:
        options = (word.partition("=")[0] for word in error.words)
        sim = first_value(words, "--sim")
        errors = (of_another_suite(option, find_suite(suite), sim) for option in options)
        raise next(filter(None, errors), error) from None


def _suite(cls: type, words: list[str], default: Any) -> str:
    """Return the suite whose simulators' flags a command takes: ``--suite``'s, the settings', or the given run's."""
    named = first_value(words, "--suite") if hasattr(cls, "suite") else None
    own = getattr(cls if default is None else default, "suite", None)
    if named or own:
        return str(named or own)
    from headless_eval.config.run import RunConfig

    if not hasattr(cls, "directories"):
        return RunConfig.suite
    return _suite_of_run(words) or _certified_suite(words) or RunConfig.suite


def _suite_of_run(words: list[str]) -> str | None:
    """Return the suite of the first run whose folder is among the words."""
    from headless_eval.results import RunDirectory

    for folder in (Path(word) for word in words if (Path(word) / "manifest.json").is_file()):
        manifest = RunDirectory.open(folder).manifest
        # The settings tell where the code of a suite is that is not among the known ones.
        return str((manifest.get("settings") or {}).get("suite") or manifest["suite"])
    return None


def _certified_suite(words: list[str]) -> str | None:
    """Return the suite of the first certificate among the words, if it is one of this package's own."""
    for file in (Path(word) for word in words if Path(word).is_file()):
        from headless_eval.runs.certificate import document
        from headless_eval.runs.certificate.loading import bundled_suite

        with suppress(UserError):  # not a certificate, which the command says itself where it needs one
            suite = document.decode(document.read_bytes(file), file).suite
            return suite if bundled_suite(suite) else None
    return None


def _carry_out(name: str, settings: Any) -> int:
    return int(load(COMMANDS[name].function)(settings))
