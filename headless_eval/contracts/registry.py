"""Registries of objects by name, with registration by decorators and by entry points of other packages.

A registry is filled on first use: the modules of its room are imported, whose decorators register objects; then the
entry points of its group in installed packages are read. No central list names the objects.
"""

from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pkgutil import iter_modules
from typing import Any, Generic, TypeVar

from headless_eval.errors import UserError
from headless_eval.shared.suggest import unknown

T = TypeVar("T")


class Registry(Generic[T]):
    """Registry of objects of one kind, by name.

    Args:
        kind: the kind, for messages, such as ``"robot"``.
        room: the package whose modules define the built-in objects.
        module: the module in each folder of the room that registers objects; None: the room's own modules.

    Attributes:
        group: the entry-point group that other packages register in, such as ``headless_eval.robots``: each entry
            point names the object, or a function without arguments that returns it.
    """

    def __init__(self, kind: str, room: str, module: str | None = None) -> None:
        self.kind, self._room, self._module = kind, room, module
        self._plural = f"{kind[:-1]}ies" if kind.endswith("y") else f"{kind}s"
        self.group = f"headless_eval.{self._plural.replace(' ', '_')}"
        self._known: dict[str, T] = {}
        self._outside: dict[str, EntryPoint] = {}
        self._filled = False

    def add(self, name: str, thing: T) -> T:
        """Register an object under a name, and return it.

        Raises:
            ValueError: another object has this name.
        """
        if self._known.setdefault(name, thing) is not thing:
            raise ValueError(f"there are two {self._plural} named {name!r}")
        return thing

    def register(self, name: str) -> Callable[[Any], Any]:
        """Return a decorator that registers a class or a function under a name."""

        def decorate(thing: Any) -> Any:
            return self.add(name, thing)

        return decorate

    def find(self, name: str) -> T:
        """Return the object with this name.

        Raises:
            UserError: the name is unknown (the message suggests the nearest), or the package that registers it
                cannot be imported.
        """
        self._fill()
        if name in self._outside and name not in self._known:
            self._known[name] = self._load(self._outside[name])
        if name not in self._known:
            raise unknown(self.kind, name, self.names())
        return self._known[name]

    def names(self) -> list[str]:
        """Return all names: built-in objects in the order of registration, then objects of other packages."""
        self._fill()
        return [*self._known, *(name for name in self._outside if name not in self._known)]

    def items(self) -> Iterator[tuple[str, T]]:
        """Yield names and objects in the order of ``names``."""
        return ((name, self.find(name)) for name in self.names())

    def origin(self, name: str) -> str | None:
        """Return the distribution that registers a name by an entry point; None for a built-in object."""
        self._fill()
        point = self._outside.get(name)
        return None if point is None or point.dist is None else point.dist.name

    def place(self, name: str) -> str | None:
        """Return where an entry point finds an object, as ``module:attribute``; None for a built-in object."""
        self._fill()
        point = self._outside.get(name)
        return None if point is None else point.value

    def __getitem__(self, name: str) -> T:
        return self.find(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __contains__(self, name: object) -> bool:
        return name in self.names()

    def _fill(self) -> None:
        if self._filled:
            return
        self._filled = True
        for module in _modules_of(self._room, self._module):
            import_module(module)
        for point in entry_points(group=self.group):
            if point.name not in self._known:
                self._outside[point.name] = point

    def _load(self, point: EntryPoint) -> T:
        try:
            thing: Any = point.load()
            made: T = thing() if callable(thing) and not isinstance(thing, type) else thing
        except Exception as error:
            package = "another package" if point.dist is None else f"the package {point.dist.name}"
            raise UserError(
                f"the {self.kind} {point.name!r} of {package} cannot be loaded ({type(error).__name__}: {error}): "
                "mend or uninstall it"
            ) from error
        return made


def _modules_of(room: str, module: str | None) -> Iterable[str]:
    """Return the dotted names of the modules that register a room's objects, in alphabetical order."""
    paths = import_module(room).__path__
    for info in sorted(iter_modules(paths), key=lambda info: info.name):
        if module is None:
            yield f"{room}.{info.name}"
        elif info.ispkg:
            folder = import_module(f"{room}.{info.name}").__path__
            if any(inner.name == module for inner in iter_modules(folder)):
                yield f"{room}.{info.name}.{module}"
