"""Parser of command lines into settings dataclasses; errors are messages of one sentence."""

import os
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from difflib import get_close_matches
from inspect import cleandoc
from pathlib import Path
from shutil import get_terminal_size
from typing import Any, Literal, TypeVar, get_args, get_origin

from headless_eval.errors import UserError
from headless_eval.shared.flags import ARGUMENTS, Setting, build, flat, with_parts

T = TypeVar("T")

_INDENT = 28  # where the explanations begin
_WIDEST = 110
_NOUNS = {int: "a whole number", float: "a number"}
_METAVARS = {int: "NUMBER", float: "NUMBER", Path: "PATH"}


class UnknownWords(UserError):
    """Words of a command line that are neither a flag nor a value.

    Args:
        words: the words, including those that follow an unknown flag.
        known: all flags of the command.
    """

    def __init__(self, words: Sequence[str], known: Iterable[str]) -> None:
        self.words = tuple(words)
        names = sorted(known)
        near = [one for word in words if word.startswith("--") for one in _nearest(word, names)]
        hint = f"; perhaps you meant {' or '.join(dict.fromkeys(near))}" if near else ""
        super().__init__(f"unrecognized options: {', '.join(words)}{hint}")


def parse(
    cls: type[T],
    words: Sequence[str],
    program: str,
    description: str | None = None,
    default: T | None = None,
    parts: Mapping[str, type] | None = None,
    notes: Mapping[str, str] | None = None,
    below: Mapping[str, Any] | None = None,
) -> T:
    """Return a settings dataclass with the values of a command line; ``--help`` prints the help and exits.

    A flag's values are the words that follow it, or the text after ``=``; if a flag is given twice, the second counts,
    unless its values add up.

    Args:
        cls: the dataclass, as ``headless_eval.shared.flags`` describes it.
        words: the words after the command.
        program: program and command, for messages and the help.
        description: the text of the help; by default the dataclass's docstring.
        default: the settings for flags that are not given; by default the dataclass's defaults.
        parts: the dataclass of each field that is annotated as a part, by the field's name.
        notes: texts beside the headings of groups of flags in the help, by heading.
        below: values by field for flags that are not given, such as those of a file; they come before ``default``.

    Raises:
        UserError: a word is neither flag nor value, a value is missing, or a value is not valid.
    """
    settings = with_parts(cls, parts)
    if any(word in ("-h", "--help") for word in words):
        shown = build(cls, below or {}, parts, default) if default is not None or below else None
        present = {} if shown is None else {setting.name: value for setting, value in flat(shown)}
        print(_help(settings, program, description or cls.__doc__ or "", present, notes or {}))
        sys.stdout.flush()
        raise SystemExit(0)
    try:
        given: dict[str, Any] = {}
        for setting, values in _split(settings, words):
            value = _read(setting, values)
            given[setting.name] = (*given.get(setting.name, ()), *value) if setting.flag.adds else value
        given = {**(below or {}), **given}
        missing = [setting for setting in settings if setting.required and setting.name not in given]
        if missing and default is None:
            raise UserError(f"missing: {', '.join(map(_wanted, missing))}")
    except UserError as error:
        error.args = (f"{error}; see {program} --help",)
        raise
    return build(cls, given, parts, default)


def given_names(cls: type, words: Sequence[str], parts: Mapping[str, type] | None = None) -> set[str]:
    """Return the fields that a command line gives; words that are neither flag nor value are left for ``parse``."""
    found = set()
    with suppress(UserError):
        for setting, _ in _split(with_parts(cls, parts), words):
            found.add(setting.name)
    return found


def first_value(words: Sequence[str], option: str) -> str | None:
    """Return the value of a flag before the whole command line is parsed; None if the flag or its value is missing."""
    for word, after in zip(words, [*words[1:], "--"], strict=False):
        name, equals, value = word.partition("=")
        if name == option and (equals or not _is_flag(after)):
            return value if equals else after
    return None


def refuse_unreadable(words: Sequence[str]) -> None:
    """Refuse names that are not UTF-8, which neither JSON nor a page can hold: they would fail where they are written.

    Raises:
        UserError: a word, or the current folder's path, is not UTF-8.
    """
    said = [("the argument", word) for word in words]
    with suppress(FileNotFoundError):  # deleted
        said.append(("the current folder", os.getcwd()))
    for what, text in said:
        try:
            text.encode()
        except UnicodeEncodeError:
            raise UserError(f"{what} {text!a} is no text in UTF-8: rename it, or go elsewhere") from None


def refuse_empty(words: Sequence[str]) -> None:
    """Refuse empty values, which come from unset shell variables: an empty path would mean the current folder.

    Raises:
        UserError: a word is empty, or ends with ``=``.
    """
    for before, word in zip(["", *words], words, strict=False):
        name, equals, value = word.partition("=")
        if not word or (name.startswith("--") and equals and not value):
            what = next((one for one in (name, before) if one.startswith("--")), "an argument")
            raise UserError(f"{what} is empty: give it a value, or leave it out")


def _split(settings: Sequence[Setting], words: Sequence[str]) -> Iterator[tuple[Setting, list[str]]]:
    """Yield settings with the words that are their values."""
    options = {name: setting for setting in settings for name in _names(setting) + setting.flag.hidden}
    shown = [name for setting in settings for name in _names(setting)]
    left, loose, strange = list(words), list[str](), list[str]()
    while left:
        word = left.pop(0)
        name, equals, value = word.partition("=")
        if word == "--":
            loose, left = [*loose, *left], []
        elif not _is_flag(word):
            loose.append(word)
        elif name in options:
            setting = options[name]
            most = 0 if setting.kind is bool else len(left) if setting.many else 1
            values = [value] if equals else _take(left, most)
            if setting.kind is bool and equals:
                raise UserError(f"{name} takes no value")
            yield setting, values
        else:
            strange += [word, *_take(left, len(left))]
    positional = [setting for setting in settings if setting.flag.positional]
    for index, setting in enumerate(positional):
        number = max(0, len(loose) - (len(positional) - index - 1)) if setting.many else 1
        if values := loose[:number]:
            yield setting, values
        loose = loose[number:]
    if strange or loose:
        raise UnknownWords(strange + loose, shown)


def _is_flag(word: str) -> bool:
    """Return whether a word is a flag: it begins with a dash, and is neither a single dash nor a negative number."""
    return word.startswith("-") and len(word) > 1 and not (word[1].isdigit() or word[1] == ".")


def _take(words: list[str], most: int) -> list[str]:
    """Remove the values at the beginning of some words, and return them."""
    number = next((index for index, word in enumerate(words[:most]) if _is_flag(word)), min(most, len(words)))
    taken, words[:] = words[:number], words[number:]
    return taken


def _names(setting: Setting) -> tuple[str, ...]:
    return () if setting.flag.positional else (setting.option, *setting.flag.aliases)


def _read(setting: Setting, values: Sequence[str]) -> Any:
    """Return the value of a setting from its words.

    Raises:
        UserError: a value is missing, or of another type.
    """
    if setting.kind is bool:
        return True
    if not values:
        raise UserError(f"{setting.option} needs a value")
    if setting.many:
        return tuple(_convert(setting, value) for value in values)
    return _convert(setting, values[0])


def _convert(setting: Setting, value: str) -> Any:
    name = _metavar(setting) if setting.flag.positional else setting.option
    if get_origin(setting.kind) is Literal:
        setting.check(value)
        return value
    try:
        return setting.kind(value)
    except ValueError:
        raise UserError(f"{name} is {value!r}; it must be {_NOUNS[setting.kind]}") from None


def _nearest(word: str, names: Sequence[str]) -> list[str]:
    """Return the flags that begin with a word, else the most similar flag."""
    name = word.partition("=")[0]
    return [one for one in names if one.startswith(name)] or get_close_matches(name, names, n=1)


def _wanted(setting: Setting) -> str:
    text = setting.help().rstrip(".")
    first = text.partition(" ")[0]
    if first.istitle():
        text = text[:1].lower() + text[1:]
    return f"{' '.join((*_names(setting)[:1], _metavar(setting)))} ({text})"


def _metavar(setting: Setting) -> str:
    if setting.flag.metavar is not None:
        return setting.flag.metavar
    if get_origin(setting.kind) is Literal:
        return "|".join(get_args(setting.kind))
    return _METAVARS.get(setting.kind, "NAME") + " ..." * setting.many


def _help(
    settings: Sequence[Setting],
    program: str,
    description: str,
    present: Mapping[str, Any],
    notes: Mapping[str, str],
) -> str:
    """Return the page that explains a command: its words, what it does, and its flags by group.

    Args:
        settings: the command's fields.
        program: program and command.
        description: the description of the command.
        present: values to show as defaults, by field, instead of the dataclass's defaults.
        notes: texts beside the headings of groups.
    """
    width = min(get_terminal_size().columns, _WIDEST) - 2
    words = [_metavar(setting) for setting in settings if setting.flag.positional]
    flags = [] if all(setting.flag.positional for setting in settings) else ["[FLAGS]"]
    usage = " ".join([f"usage: {program}", *words, *flags])
    blocks: dict[str, list[str]] = {ARGUMENTS: []}
    for setting in settings:
        value = present.get(setting.name, setting.default)
        blocks.setdefault(setting.group, []).append(_explained(setting, value, width))
    headings = {name: f"{name}{notes.get(name, '')}:" for name in blocks}
    groups = ["\n".join((headings[name], *lines)) for name, lines in blocks.items() if lines]
    return "\n\n".join((usage, cleandoc(description), *groups))


def _explained(setting: Setting, value: Any, width: int) -> str:
    names = ", ".join(_names(setting))
    left = "  " + " ".join(filter(None, (names, "" if setting.kind is bool else _metavar(setting))))
    text = f"{setting.help().rstrip('.')} {_shown_default(setting, value)}".strip()
    lines = textwrap.wrap(text, max(width - _INDENT, 30), break_long_words=False, break_on_hyphens=False)
    first = f"{left:{_INDENT}}{lines[0]}" if len(left) < _INDENT - 1 else f"{left}\n{' ' * _INDENT}{lines[0]}"
    return "\n".join((first, *(" " * _INDENT + line for line in lines[1:])))


def _shown_default(setting: Setting, value: Any) -> str:
    if setting.required:
        return "" if setting.flag.positional else "(required)"
    if setting.kind is bool:
        return ""
    text = " ".join(map(str, value)) if isinstance(value, tuple) else "" if value is None else f"{value}"
    if value == setting.default and setting.flag.default is not None:
        text = setting.flag.default
    return f"(default: {text})" if text else ""
