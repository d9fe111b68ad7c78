"""Settings of runs in a TOML file: every flag of ``run`` is a key, and lists of values make a matrix of runs."""

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from headless_eval.config.run import RunConfig
from headless_eval.config.simulation import parts
from headless_eval.config.stored import read
from headless_eval.contracts.variant import Variant
from headless_eval.errors import UserError
from headless_eval.policies.registry import absolute_policy
from headless_eval.shared.files import replacing
from headless_eval.shared.flags import Setting, flat, with_parts
from headless_eval.shared.program import command
from headless_eval.shared.suggest import unknown
from headless_eval.shared.toml import read_toml
from headless_eval.sims.registry import absolute_suite, find_suite, of_another_suite

VARIANTS = "variants"
"""The name of the tables that describe variants one by one."""

# Flags that are given instead of each other: where a flag wins, the file's others are left out.
_INSTEAD = {"variant": ("dtypes", "modes"), "dtypes": ("variant",), "modes": ("variant",)}


class Combination(NamedTuple):
    """The settings of one run of a file.

    Args:
        label: the values that this run does not share with the others, as a name for a folder; empty for the only run.
        axes: those values by setting.
        values: the settings that the file gives this run, by field, converted to their types.
    """

    label: str
    axes: Mapping[str, Any]
    values: Mapping[str, Any]


def read_settings(path: Path) -> dict[str, Any]:
    """Read a file of settings.

    Keys are the names of flags, with dashes or underscores. ``[[variants]]`` tables become texts of ``variant``: a
    table has ``precision`` (such as ``int8_both``) or ``dtype`` and ``mode``, perhaps a ``name``, and settings of the
    policy such as ``flow_steps``.

    Returns:
        The values by field, not yet checked.

    Raises:
        UserError: the file cannot be read, or a table of a variant is not valid.
    """
    try:
        table = read_toml(path)
        values = {key.replace("-", "_"): value for key, value in table.items()}
        if VARIANTS in values:
            tables = values.pop(VARIANTS)
            if not isinstance(tables, list):
                raise UserError(f"{VARIANTS!r} has to be a list of tables, [[{VARIANTS}]], or of texts")
            texts = [one if isinstance(one, str) else _variant_text(one) for one in tables]
            others = values.get("variant", [])
            if not isinstance(others, list):
                raise UserError(f"'variant' is {others!r:.60}: it has to be a list of texts")
            values["variant"] = [*others, *texts]
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return values


def suites_of(values: Mapping[str, Any]) -> list[str]:
    """Return the suites that a file names, or the default suite."""
    named = values.get("suite", RunConfig.suite)
    return [str(one) for one in named] or [RunConfig.suite] if isinstance(named, list) else [str(named)]


def combinations(
    path: Path, values: Mapping[str, Any], given: Collection[str] = (), suite: str | None = None
) -> list[Combination]:
    """Return the runs that a file describes: one, or one for each combination of the values that are given as lists.

    Args:
        path: of the file, for messages.
        values: what ``read_settings`` returns.
        given: the settings that the command line gives; the file's are left out.
        suite: the suite that the command line gives; settings of the file's own suite's simulators are left out.

    Raises:
        UserError: a setting is unknown or no setting for a file, a list is empty, or a value has the wrong type.
    """
    own_suites = suites_of(values)
    values = {name: value for name, value in values.items() if name not in given}
    for name in given:
        for other in _INSTEAD.get(name, ()):
            values.pop(other, None)
    try:
        suites = [suite] if suite else suites_of(values)
        known, dropped = _known(suites), _known(own_suites if suite else ())
        axes = {}
        for name, value in list(values.items()):
            if name not in known:
                if name not in dropped:
                    raise _unknown(name, find_suite(suites[0]), values, known)
                del values[name]
            elif _is_axis(known[name], value):
                axes[name] = value
                if not value:
                    raise UserError(f"{name!r} is an empty list: name at least one value")
        found = []
        for chosen in product(*axes.values()):
            here = dict(zip(axes, chosen, strict=True))
            own = _known([suite or str((values | here).get("suite", RunConfig.suite))])
            taken = {name: read(own[name], value) for name, value in (values | here).items() if name in own}
            found.append(Combination(_label(here), here, taken))
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    labels = [one.label for one in found]
    return [
        one if labels.count(one.label) == 1 else one._replace(label=f"{one.label}_{index}")
        for index, one in enumerate(found, start=1)
    ]


def save(config: RunConfig, path: Path) -> None:
    """Write the settings of a run to a new file, and tell how to use it.

    Raises:
        UserError: the file exists or cannot be written.
    """
    if path.exists():
        raise UserError(f"--save-settings: {path} exists; name a file that does not")
    try:
        with replacing(path) as file:
            file.write(to_text(config))
    except OSError as error:
        raise UserError(f"--save-settings: {path} cannot be written: {error.strerror}") from None
    print(f"to run with these settings: {command('run', '--from', path)}")


def to_text(config: RunConfig) -> str:
    """Return the settings of a run as a file that ``read_settings`` reads; each has its help as a comment.

    Settings without a value are comments; paths are absolute. What is no setting of the run itself, such as whether it
    is resumed, is left out.
    """
    blocks: dict[str, list[str]] = {}
    tables: list[str] = []
    for setting, value in flat(config):
        if not setting.flag.stated:
            continue
        if setting.name == "variant":
            tables = [_table(variant) for variant in config.variants] if value else []
            continue
        if config.variant and setting.name in _INSTEAD["variant"]:
            continue
        lines = blocks.setdefault(setting.group, [])
        lines.append(f"# {setting.help()}")
        lines.append(
            f"# {setting.name} =" if value is None else f"{setting.name} = {_literal(setting, value)}"
        )
    groups = ["\n".join((f"## {group}", "", *lines)) for group, lines in blocks.items()]
    return "\n\n".join((*groups, *tables)) + "\n"


def _variant_text(table: Any) -> str:
    if not isinstance(table, Mapping):
        raise UserError(
            f"a variant is {table!r:.60}: write a table [[{VARIANTS}]], or a text such as int8_both"
        )
    left = {key.replace("-", "_"): value for key, value in table.items()}
    name, precision = left.pop("name", None), left.pop("precision", None)
    dtype, mode = left.pop("dtype", None), left.pop("mode", None)
    for value in (name, precision, dtype, mode):
        if not isinstance(value, str | None):
            raise UserError(f"the variant {dict(table)!r:.100} has {value!r:.40} where a text has to be")
    if (precision is None) == (dtype is None) or (mode is not None and dtype is None):
        raise UserError(
            f"the variant {dict(table)} needs either precision, such as int8_both, or dtype and mode"
        )
    for key, value in left.items():
        if not isinstance(value, str | int | float) or isinstance(value, bool):
            raise UserError(
                f"the variant's setting {key!r} is {value!r:.60}: it has to be a number or a string"
            )
    text = precision if precision is not None else "_".join(filter(None, (dtype, mode)))
    settings = "".join(f"+{key}={value}" for key, value in left.items())
    return f"{name}={text}{settings}" if name is not None else f"{text}{settings}"


def _table(variant: Variant) -> str:
    alone = variant.precision.name == variant.dtype or variant.dtype == "float32"
    lines = [f"[[{VARIANTS}]]"]
    lines += [] if variant.label is None else [f"name = {json.dumps(variant.label)}"]
    lines.append(f"dtype = {json.dumps(variant.dtype)}")
    lines += [] if alone else [f"mode = {json.dumps(variant.mode)}"]
    lines += [f"{key} = {json.dumps(value)}" for key, value in variant.settings.items()]
    return "\n".join(lines)


def _literal(setting: Setting, value: Any) -> str:
    if setting.name == "policy":
        value = absolute_policy(value)
    elif setting.name == "suite":
        value = absolute_suite(value)
    elif isinstance(value, Path):
        value = str(value.resolve())
    # JSON writes these values as TOML does.
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)


def _known(suites: Iterable[str]) -> dict[str, Setting]:
    """Return the settings that a file may give, for runs of some suites."""
    found: dict[str, Setting] = {}
    for suite in suites:
        found |= {one.name: one for one in with_parts(RunConfig, parts(suite)) if one.flag.stated}
    return found


def _unknown(name: str, suite: Any, values: Mapping[str, Any], known: Mapping[str, Setting]) -> UserError:
    option = f"--{name.replace('_', '-')}"
    if any(one.name == name for one in with_parts(RunConfig)):
        return UserError(f"{name!r} is no setting for a file: give {option} on the command line")
    sim = values.get("sim")
    another = of_another_suite(option, suite, sim if isinstance(sim, str) else None)
    return another or unknown("setting", name, known)


def _is_axis(setting: Setting, value: Any) -> bool:
    """Return whether a value lists several values of a setting."""
    if not isinstance(value, list):
        return False
    return not setting.many or (bool(value) and all(isinstance(one, list) for one in value))


def _label(chosen: Mapping[str, Any]) -> str:
    return "-".join(f"{name}_{_short(value)}" for name, value in chosen.items())


def _short(value: Any) -> str:
    """Return a value as a part of a folder's name; of a path the last part."""
    words: Sequence[Any] = value if isinstance(value, list) else [value]
    texts = (str(word).rstrip("/").rpartition("/")[2] for word in words)
    return re.sub(r"[^\w.-]", "_", "_".join(texts))
