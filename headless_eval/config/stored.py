"""Settings as tables: conversion to a manifest, and back from a manifest or from keyword arguments in Python."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from headless_eval.config.run import RunConfig
from headless_eval.config.simulation import parts
from headless_eval.errors import UserError
from headless_eval.shared.flags import Setting, build, declared, flat, with_parts
from headless_eval.shared.suggest import unknown
from headless_eval.sims.registry import find_suite, of_another_suite

T = TypeVar("T")


def to_table(settings: Any) -> dict[str, Any]:
    """Return the settings as a manifest keeps them: values by field, ready for JSON; paths are absolute."""
    return {
        setting.name: str(value.resolve()) if isinstance(value, Path) else value
        for setting, value in flat(settings)
        if setting.flag.stated
    }


def from_table(cls: type[T], table: Mapping[str, Any], parts: Mapping[str, type] | None = None) -> T:
    """Return settings from a manifest's table; fields that the table lacks have their defaults.

    Args:
        cls: the settings dataclass.
        table: values by field; others are ignored.
        parts: the dataclasses of its parts, by field.

    Raises:
        UserError: a value is not of its field's type, or the dataclass refuses it.
    """
    taken = [one for one in with_parts(cls, parts) if one.flag.stated and one.flag.kept]
    return build(cls, {one.name: read(one, table[one.name]) for one in taken if one.name in table}, parts)


def read(setting: Setting, value: Any) -> Any:
    """Return a value converted to its setting's type: lists become tuples, strings may become paths.

    Raises:
        UserError: the value has another type.
    """
    try:
        return msgspec.convert(value, setting.type, dec_hook=lambda kind, given: kind(given))
    except msgspec.ValidationError:
        raise UserError(f"its setting {setting.name!r} is {value!r:.60}") from None


def run_settings(table: Mapping[str, Any]) -> RunConfig:
    """Return the settings of a run from its manifest's table.

    Raises:
        UserError: the suite does not exist, a value does not have its field's type, or a value is not valid.
    """
    suite = table.get("suite", RunConfig.suite)
    return from_table(RunConfig, table, parts(suite) if isinstance(suite, str) else None)


def free_settings(suite: str | None) -> frozenset[str]:
    """Return the settings of a run that no trial's result depends on.

    Args:
        suite: the name of the suite whose simulators' settings are included; an unknown suite has no settings.
    """
    known = [*declared(RunConfig)]
    with suppress(UserError):
        known += declared(find_suite(suite or RunConfig.suite).settings)
    return frozenset(setting.name for setting in known if setting.flag.free)


def run_with(values: Mapping[str, Any], default: RunConfig | None = None) -> RunConfig:
    """Return the settings of a run from keyword arguments in Python.

    Args:
        values: values by field, including fields of the suite's simulators; lists stand for tuples, strings for paths.
        default: the settings that fill the remaining fields; by default the dataclasses' defaults.

    Raises:
        UserError: a field is unknown or belongs to another suite's simulator, or a value has the wrong type or is not
            valid.
    """
    named = values.get("suite", RunConfig.suite if default is None else default.suite)
    suite, own = find_suite(named), parts(named)
    known = {setting.name: setting for setting in with_parts(RunConfig, own)}
    for name in values:
        if name not in known:
            option = f"--{name.replace('_', '-')}"
            raise of_another_suite(option, suite, values.get("sim")) or unknown("setting", name, known)
    ready = {name: read(known[name], value) for name, value in values.items()}
    return build(RunConfig, ready, own, default)
