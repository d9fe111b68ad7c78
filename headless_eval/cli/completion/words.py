"""What can be completed: each command's flags and arguments, and the values that they take."""

from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Literal, NamedTuple, get_args, get_origin

from headless_eval.cli.commands import COMMANDS, load
from headless_eval.contracts.robots import ROBOTS
from headless_eval.policies.registry import list_configs, list_policies
from headless_eval.quant.dtypes import DTYPES
from headless_eval.quant.methods import METHODS
from headless_eval.quant.precision import MODES
from headless_eval.shared.flags import Setting, with_parts
from headless_eval.sims.registry import SUITES

_LONGEST = 70  # characters of an explanation


class Word(NamedTuple):
    """A flag, or an argument without a name.

    Args:
        names: the flag's names; empty for an argument.
        help: what it is, in a few words.
        takes: how many values follow it.
        values: the values that are known beforehand.
        paths: which paths may be its value; empty for none.
    """

    names: tuple[str, ...]
    help: str
    takes: Literal["nothing", "one", "many"]
    values: tuple[str, ...]
    paths: Literal["", "files", "folders"]


class Completion(NamedTuple):
    """A command: what it does, and its words."""

    summary: str
    words: tuple[Word, ...]

    @property
    def flags(self) -> tuple[Word, ...]:
        """The words that have names."""
        return tuple(word for word in self.words if word.names)

    @property
    def arguments(self) -> tuple[Word, ...]:
        """The words without a name, in order."""
        return tuple(word for word in self.words if not word.names)


def completions() -> dict[str, Completion]:
    """Return all commands; a command that takes a simulator's flags has those of every suite."""
    known = _known()
    help_flag = Word(("--help",), "explain the flags", "nothing", (), "")
    return {
        name: Completion(
            command.summary,
            (*(_word(setting, known) for setting in _settings(load(command.settings))), help_flag),
        )
        for name, command in COMMANDS.items()
    }


def _known() -> dict[str, tuple[str, ...]]:
    """Return the values of settings, by the settings' names."""
    dtypes = (*DTYPES, *(method.spelling().partition("[")[0] for _, method in METHODS.items()))
    return {
        "policy": tuple(list_policies()),
        "config": tuple(list_configs()),
        "robot": tuple(ROBOTS),
        "suite": tuple(name for name, _ in SUITES.items()),
        "dtypes": dtypes,
        "dtype": dtypes,
        "modes": tuple(MODES),
        "mode": tuple(MODES),
    }


def _settings(cls: type) -> Iterable[Setting]:
    """Return a command's settings, with those of every suite's simulators instead of the simulator."""
    parts = [suite.settings for _, suite in SUITES.items()]
    if "simulator" not in (field.name for field in fields(cls)):
        parts = parts[:1]
    found = [setting for part in parts for setting in with_parts(cls, {"simulator": part})]
    return {setting.name: setting for setting in found}.values()


def _word(setting: Setting, known: dict[str, tuple[str, ...]]) -> Word:
    takes: Literal["nothing", "one", "many"] = "one"
    if setting.kind is bool:
        takes = "nothing"
    elif setting.many:
        takes = "many"
    values = get_args(setting.kind) if get_origin(setting.kind) is Literal else known.get(setting.name, ())
    paths: Literal["", "files", "folders"] = ""
    shown = setting.flag.metavar or ""
    if setting.kind is Path:
        paths = "files" if "FILE" in shown or not shown else "folders"
    elif any(word in shown for word in ("FILE", "DIR", "POLICY", "SRC")):
        paths = "files"
    names = () if setting.flag.positional else (setting.option, *setting.flag.aliases)
    return Word(names, _short(setting.help()), takes, tuple(map(str, values)), paths)


def _short(text: str) -> str:
    """Return an explanation's first clause, cut at a word where it is long."""
    text = text.replace("`", "").partition("; ")[0].rstrip(".")
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST].rpartition(' ')[0]} …"
