"""The family of policies that users bring: ``module:attribute``, ``./file.py:attribute``, or an installed package's.

A package names its policies by entry points of the group ``headless_eval.policies``. What is named is a class or a
function that returns an object with ``infer(obs)``, or such an object.
"""

import inspect
import sys
from collections.abc import Mapping
from dataclasses import fields
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from headless_eval.errors import UserError
from headless_eval.policies.options import LoadOptions
from headless_eval.policies.registry import BUNDLED, FAMILIES, Brought
from headless_eval.shared import places
from headless_eval.shared.foreign import foreign_code
from headless_eval.shared.literals import read_arguments
from headless_eval.shared.suggest import unknown

GROUP = "headless_eval.policies"
"""The entry-point group of policies."""

_BY_KEYWORD = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class Own:
    """The family of policies that users bring; their code is run when such a policy is loaded, and not before."""

    configs: tuple[str, ...] = ()
    engines: tuple[str, ...] = ()
    executions: tuple[str, ...] = ()

    @property
    def policies(self) -> tuple[str, ...]:
        """Return the names of the policies of installed packages."""
        return tuple(_points())

    def about(self, name: str) -> str:
        """Return the package that brings a policy, with its version."""
        dist = _points()[name].dist
        return "another package" if dist is None else f"of the package {dist.name} {dist.version}"

    def claims(self, text: str) -> bool:
        """Return whether a text names an object of a module or a file."""
        return places.is_place(text) and not Path(text).is_dir()

    def absolute(self, text: str) -> str:
        """Return the text of a policy that does not depend on the current folder."""
        if text in _points():
            return text
        place = places.find(text, "policy")
        return text if place.path is None else f"{place.path}:{place.attribute}"

    def owns(self, folder: Path, config_file: Path | None = None) -> bool:
        """Return False: folders belong to other families."""
        return False

    def read_config(self, folder: Path, name: str | None, file: Path | None, robot: str | None) -> Any:
        """Raise an error, because such policies have no configurations.

        Raises:
            UserError: always.
        """
        raise UserError("policies of your own have no configurations")

    def load(self, where: Path | str, options: LoadOptions) -> Brought:
        """Return a policy, made by the class or function that ``where`` names.

        The arguments are ``policy_args``; besides, other options are passed on to arguments of their names, such as
        ``device``.

        Raises:
            UserError: the code cannot be imported or fails, or it does not take an argument or an option.
        """
        text = str(where)
        point = _points().get(text)
        named = text if point is None else point.value
        thing = places.load(named, "policy")
        arguments = read_arguments(options.policy_args, "--policy-args")
        policy = _make(text, thing, arguments, options)
        return Brought(policy, _origin(places.find(named, "policy"), point))


def _make(name: str, thing: Any, arguments: Mapping[str, Any], options: LoadOptions) -> Any:
    """Return the policy that a class or a function makes; a policy that is there already, as it is."""
    ready = not isinstance(thing, type) and callable(getattr(thing, "infer", None))
    if not ready and not callable(thing):
        raise UserError(f"{name} is {type(thing).__name__}: name a class or a function that returns a policy")
    known: dict[str, inspect.Parameter] = {}
    takes_all = False
    if not ready:
        known, takes_all = _parameters(thing)
    for argument in arguments:
        if argument not in known and not takes_all:
            raise unknown(f"argument of {name}", argument, known)
    given = {**_options(name, options, known), **arguments}
    missing = [
        key for key, parameter in known.items() if parameter.default is parameter.empty and key not in given
    ]
    if missing:
        raise UserError(
            f"{name} needs {', '.join(missing)}: add --policy-args {' '.join(f'{key}=VALUE' for key in missing)}"
        )
    if ready:
        return thing
    try:
        with foreign_code():
            return thing(**given)
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"the policy {name} cannot be made ({type(error).__name__}: {error}{places.line_of(error)})"
        ) from error


def _parameters(thing: Any) -> tuple[dict[str, inspect.Parameter], bool]:
    """Return the keyword arguments of a class or a function, and whether it takes any others, too."""
    try:
        parameters = inspect.signature(thing).parameters.values()
    except (TypeError, ValueError):  # written in C
        return {}, True
    known = {parameter.name: parameter for parameter in parameters if parameter.kind in _BY_KEYWORD}
    return known, any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)


def _options(name: str, options: LoadOptions, known: Mapping[str, inspect.Parameter]) -> dict[str, Any]:
    """Return the options of loading that a policy takes: the device, and what differs from the default.

    Raises:
        UserError: an option differs from its default, and the policy does not take it.
    """
    taken = {}
    for field in fields(LoadOptions):
        value = getattr(options, field.name)
        changed = value != field.default and (field.name, value) != ("engine", "eager")
        if field.name == "policy_args" or not (changed or field.name == "device"):
            continue
        if field.name in known:
            taken[field.name] = value
        elif changed:
            raise UserError(
                f"{name} takes no {field.name} ({value}): give the function or class that makes the policy an argument "
                f"{field.name!r}, or leave the option out"
            )
    return taken


def _origin(place: places.Place, point: EntryPoint | None) -> dict[str, Any]:
    """Return a manifest's entries about the code: its place, its distribution, and the hashes of its files."""
    found = places.describe(place)
    if point is not None and point.dist is not None:
        found["origin"] |= {"distribution": point.dist.name, "version": point.dist.version}
    return found


def _points() -> dict[str, EntryPoint]:
    return _points_on(tuple(sys.path))


@lru_cache(maxsize=4)
def _points_on(path: tuple[str, ...]) -> dict[str, EntryPoint]:
    """Return the entry points of the packages on a search path, without names of bundled policies."""
    return {point.name: point for point in entry_points(group=GROUP) if not (BUNDLED / point.name).exists()}


FAMILIES.add("own", Own())
