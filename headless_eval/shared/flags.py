"""Settings as dataclasses: each field is declared once, with what the command line and the manifest know of it.

A field's type says how its value is read, its docstring (the string below it) is its help, and
``Annotated[..., flag(...)]`` adds what else is known of it.
"""

import ast
import inspect
import sys
from dataclasses import MISSING, dataclass, fields
from functools import lru_cache
from types import NoneType
from typing import Annotated, Any, NamedTuple, get_args, get_origin, get_type_hints

ARGUMENTS, FLAGS = "Arguments", "Flags"


@dataclass(frozen=True)
class Flag:
    """What is known of a field beside its type, its default and its docstring; see ``flag``."""

    metavar: str | None = None
    default: str | None = None
    aliases: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    positional: bool = False


def flag(
    metavar: str | None = None,
    default: str | None = None,
    *aliases: str,
    hidden: tuple[str, ...] = (),
    positional: bool = False,
) -> Flag:
    """Return what to annotate a field of settings with.

    Args:
        metavar: what stands for the value in the help; by default what its type says.
        default: what the help says of the default; by default the value, and nothing if that is None.
        aliases: other names of the flag, dashes included.
        hidden: other names that the help does not show, such as earlier ones.
        positional: whether the value is given without a name.
    """
    return Flag(metavar, default, aliases, hidden, positional)


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
        """Return the flag's name on the command line."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def many(self) -> bool:
        """Return whether it takes many values."""
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
        return ARGUMENTS if self.flag.positional else self.owners[-1].__dict__.get("GROUP", FLAGS)

    def help(self) -> str:
        """Return its docstring as one line, read from the source."""
        texts = (_docstrings(owner.__module__).get((owner.__name__, self.name)) for owner in self.owners)
        return next(filter(None, texts), "")


def declared(cls: type) -> list[Setting]:
    """Return the fields of a dataclass in the order of the help: its own, then those of each base."""
    hints = get_type_hints(cls, include_extras=True)
    defaults = {field.name: field.default for field in fields(cls)}
    found = []
    for place in cls.__mro__:
        for name in inspect.get_annotations(place):
            owners = tuple(one for one in cls.__mro__ if name in inspect.get_annotations(one))
            # A class that only changes a default leaves the field where its base has it.
            if name not in defaults or place is not owners[-1]:
                continue
            kind, *notes = get_args(hints[name]) if get_origin(hints[name]) is Annotated else (hints[name],)
            note = next((note for note in notes if isinstance(note, Flag)), Flag())
            found.append(Setting(name, kind, defaults[name], note, owners))
    return found


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
