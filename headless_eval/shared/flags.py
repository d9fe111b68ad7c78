"""Settings as dataclasses: each field is declared once, with its properties for the command line and the manifest.

A field's type says how its value is read, its docstring (the string below it) is its help, and
``Annotated[..., flag(...)]`` adds what else is known of it.
"""

import ast
import inspect
import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, replace
from functools import lru_cache
from types import NoneType
from typing import (
    Annotated,
    Any,
    ClassVar,
    Literal,
    NamedTuple,
    TypeVar,
    get_args,
    get_origin,
    get_type_hints,
)

from headless_eval.errors import UserError
from headless_eval.shared.suggest import nearest

T = TypeVar("T")

ARGUMENTS, FLAGS = "Arguments", "Flags"


@dataclass(frozen=True, kw_only=True)
class Flag:
    """Properties of a field beside its type, its default and its docstring; see ``flag``."""

    metavar: str | None = None
    default: str | None = None
    aliases: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    positional: bool = False
    part: bool = False
    least: int | None = None
    most: int | None = None
    above: float | None = None
    free: bool = False
    kept: bool = True
    stated: bool = True
    simulator: str | None = None
    adds: bool = False


def flag(metavar: str | None = None, default: str | None = None, *aliases: str, **known: Any) -> Flag:
    """Return the annotation of a settings field.

    Args:
        metavar: the placeholder of the value in the help; by default derived from the type.
        default: the default's text in the help; by default the value, and no text if it is None.
        aliases: other names of the flag, dashes included.
        known: further properties:

            - ``hidden``: other names that the help does not show, such as earlier ones.
            - ``positional``: the value is given without a name.
            - ``part``: the value is itself a settings dataclass, whose fields are flags beside the others.
            - ``least``, ``most``, ``above``: bounds of a number, or of each of many.
            - ``free``: no trial's result depends on it, so a run may be resumed with another value.
            - ``kept``: a resumed run takes it from its manifest; True by default.
            - ``stated``: the manifest states it; True by default.
            - ``adds``: a flag that is given again adds its values to the earlier ones instead of replacing them.
            - ``simulator``: of a suite's simulators the one that takes it; all of them by default.
    """
    return Flag(metavar=metavar, default=default, aliases=aliases, **known)


class Setting(NamedTuple):
    """A field of a settings dataclass.

    Args:
        name: the field's name.
        type: its type, without the annotation.
        default: its default; ``dataclasses.MISSING`` where a value has to be given.
        flag: what it is annotated with.
        owners: the classes that declare it, the most derived first; docstrings and groups are theirs.
    """

    name: str
    type: Any
    default: Any
    flag: Flag
    owners: tuple[type, ...]

    @property
    def option(self) -> str:
        """Return the flag's name on the command line; a field named like a keyword ends with ``_``: ``from_``."""
        return f"--{self.name.rstrip('_').replace('_', '-')}"

    @property
    def many(self) -> bool:
        """Return whether the flag takes several values."""
        return get_origin(self.type) is tuple

    @property
    def kind(self) -> Any:
        """Return the type of a value, or of one of many, where it is not None."""
        one = get_args(self.type)[0] if self.many else self.type
        options = [option for option in get_args(one) if option is not NoneType]
        return options[0] if NoneType in get_args(one) else one

    @property
    def required(self) -> bool:
        """Return whether a value has to be given."""
        return self.default is MISSING

    @property
    def group(self) -> str:
        """Return its heading in the help: ``GROUP`` of the class that declares it first."""
        return ARGUMENTS if self.flag.positional else getattr(self.owners[-1], "GROUP", FLAGS)

    def check(self, value: Any) -> None:
        """Refuse a value that is out of bounds or not among the choices.

        Raises:
            UserError: the value is refused; the message names the flag.
        """
        wanted = None
        if get_origin(self.kind) is Literal and value not in get_args(self.kind):
            *others, last = get_args(self.kind)
            near = nearest(str(value), get_args(self.kind), cutoff=0.6)
            wanted = f"{', '.join(others)} or {last}" + (f"; did you mean {near}?" if near else "")
            value = repr(value)
        elif self.flag.least is not None and value < self.flag.least:
            wanted = f"{self.flag.least} or more"
        elif self.flag.most is not None and value > self.flag.most:
            wanted = f"{self.flag.most} or less"
        elif self.flag.above is not None and not (value > self.flag.above and math.isfinite(value)):
            wanted, value = f"above {self.flag.above:g}", f"{value:g}"
        if wanted is not None:
            name = self.flag.metavar if self.flag.positional else self.option
            raise UserError(f"{name} is {value}; it must be {wanted}")

    def help(self) -> str:
        """Return its docstring as one line, read from the source."""
        texts = (_docstrings(owner.__module__).get((owner.__name__, self.name)) for owner in self.owners)
        return next(filter(None, texts), "")


class Settings:
    """The base of settings dataclasses: refuses values that are out of bounds or not among the choices.

    ``GROUP`` is the heading of the class's fields in the help.

    Raises:
        UserError: a value is out of bounds or not among the choices.
    """

    GROUP: ClassVar[str] = FLAGS

    def __post_init__(self) -> None:
        for setting in declared(type(self)):
            value = getattr(self, setting.name)
            for one in value if setting.many else (value,):
                if one is not None:
                    setting.check(one)


def declared(cls: type) -> tuple[Setting, ...]:
    """Return the fields of a dataclass, in its own order: those of the last base first."""
    ready: Any = cls  # mypy takes no class whose objects are unhashable for a key
    return _declared(ready)


@lru_cache
def _declared(cls: Any) -> tuple[Setting, ...]:
    hints = get_type_hints(cls, include_extras=True)
    found = []
    for field in fields(cls):
        hint = hints[field.name]
        kind, *notes = get_args(hint) if get_origin(hint) is Annotated else (hint,)
        note = next((note for note in notes if isinstance(note, Flag)), Flag())
        owners = tuple(one for one in cls.__mro__ if field.name in inspect.get_annotations(one))
        found.append(Setting(field.name, kind, field.default, note, owners))
    return tuple(found)


def with_parts(cls: type, parts: Mapping[str, type] | None = None) -> list[Setting]:
    """Return the fields of a dataclass, and instead of each part those of the part's dataclass.

    Args:
        cls: the dataclass.
        parts: the dataclasses of its parts, by field; parts that are not named are left out.
    """
    found: list[Setting] = []
    for setting in declared(cls):
        inner = (parts or {}).get(setting.name)
        found += ([] if inner is None else declared(inner)) if setting.flag.part else [setting]
    return found


def build(
    cls: type[T], values: Mapping[str, Any], parts: Mapping[str, type] | None = None, default: T | None = None
) -> T:
    """Return a settings dataclass from values by name, those of its parts among them.

    Args:
        cls: the dataclass.
        values: values of its fields, and of the fields of its parts; the names are those of fields.
        parts: the dataclasses of its parts, by field.
        default: the settings for fields without a value; by default the dataclasses' defaults.

    Raises:
        UserError: a value is not valid.
    """
    ready = dict(values)
    for name, part in (parts or {}).items():
        before: Any = getattr(default, name, None)
        same_class = type(before) is part
        inner = {one.name: ready.pop(one.name) for one in declared(part) if one.name in ready}
        ready[name] = replace(before, **inner) if same_class else part(**inner)
    if default is None:
        return cls(**ready)
    base: Any = default  # mypy cannot know that T is a dataclass
    changed: T = replace(base, **ready)
    return changed


def flat(settings: Any) -> Iterator[tuple[Setting, Any]]:
    """Yield the fields of a settings dataclass with their values; those of a part instead of the part."""
    for setting in declared(type(settings)):
        value = getattr(settings, setting.name)
        if setting.flag.part:
            yield from flat(value)
        else:
            yield setting, value


@lru_cache
def _docstrings(module: str) -> dict[tuple[str, str], str]:
    """Return the strings below the fields of a module's classes, by class and field."""
    found = {}
    for node in ast.walk(ast.parse(inspect.getsource(sys.modules[module]))):
        if not isinstance(node, ast.ClassDef):
            continue
        for field, below in zip(node.body, node.body[1:], strict=False):
            match field, below:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    found[node.name, name] = " ".join(text.split())
    return found
