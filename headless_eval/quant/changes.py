"""Changes: functions that users name, which quantize a model in place. Imports no torch.

``my_module:quantize`` and ``./file.py:quantize(bits=4)`` name a function of a model; ``torchao:NAME(group_size=32)`` a
configuration of torchao. Each is a precision like a data type or a method: its text is the precision's dtype.
"""

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from headless_eval.errors import UserError
from headless_eval.shared import places
from headless_eval.shared.calls import Call, clean

if TYPE_CHECKING:
    from torch import nn

_TORCHAO = "torchao"
_KIND = "method"  # for messages


class Change(Protocol):
    """A way of quantizing a model in place, made by other code than this package's."""

    @property
    def text(self) -> str:
        """How it is written after ``--dtypes``."""
        ...

    @property
    def name(self) -> str:
        """Its name in records, tables and files."""
        ...

    @property
    def mode(self) -> str:
        """What it rounds: ``weights_only``, ``activations_only`` or ``both``, as far as it is known."""
        ...

    def check(self) -> None:
        """Import it, so that mistakes show before a policy is loaded.

        Raises:
            UserError: it does not exist, cannot be imported, or does not take its arguments.
        """
        ...

    def origin(self) -> dict[str, Any]:
        """Return where its code comes from, as ``places.describe`` does."""
        ...

    def apply(self, model: "nn.Module", matches: Callable[[str], bool] | None) -> Sequence[str]:
        """Quantize a model in place.

        Args:
            model: the model.
            matches: tells of a module's dotted name whether the module is in scope; None: all modules are.

        Returns:
            The names of the modules that it meant to change; empty where it does not tell.

        Raises:
            UserError: it cannot be applied to this model or on this machine, or not to a part of the model.
        """
        ...


@lru_cache(maxsize=256)
def parse_change(text: str) -> Change | None:
    """Read ``module:function``, ``file.py:function(key=value)`` or ``torchao:CONFIGURATION(key=value)``.

    Returns:
        None for a text without a colon: a data type or a method.

    Raises:
        UserError: the text has a colon, but is not written like these.
    """
    called = Call.parse(text)
    if called is None:
        if ":" in text:
            raise UserError(
                f"unknown dtype {text!r}: write module:function, ./file.py:function or torchao:NAME(...)"
            )
        return None
    if called.source == _TORCHAO:
        from headless_eval.quant.torchao_configs import TorchaoConfig

        return TorchaoConfig(called)
    return Function(called)


def stored_text(text: str) -> str:
    """Return a text of ``--dtypes`` that means the same in any folder: the path of a function's file is absolute."""
    called = Call.parse(text)
    if called is None or not called.source.endswith(".py"):
        return text
    return str(replace(called, place=f"{Path(called.source).expanduser().resolve()}:{called.name}"))


@dataclass(frozen=True)
class Function:
    """A user's function ``quantize(model, ...)``.

    It changes the model in place: weights, buffers, modules, hooks, attributes. It may have an argument ``matches``, a
    function that tells of a module's dotted name whether the user wants the module quantized (``--include``,
    ``--exclude``, the parts of ``sensitivity``).

    Args:
        called: the function and its keyword arguments.

    Raises:
        UserError: an argument's value is not a literal.
    """

    called: Call

    def __post_init__(self) -> None:
        self.called.values()

    @property
    def text(self) -> str:
        """How it is written after ``--dtypes``."""
        return str(self.called)

    @property
    def name(self) -> str:
        """The last part of the module's or file's name, the function's name and its arguments."""
        source = re.split(r"[./]", self.called.source.removesuffix(".py"))[-1]
        return clean(f"{source}_{self.called.name}", self.called.values())

    @property
    def mode(self) -> str:
        """``both``: what a function rounds is not known."""
        return "both"

    def check(self) -> None:
        """Import the function and see whether it takes a model and the arguments.

        Raises:
            UserError: it cannot be imported, is no function, or does not take the arguments.
        """
        self._takes_matches(self._function())

    def origin(self) -> dict[str, Any]:
        """Return where the function comes from."""
        places.load(self.called.place, _KIND)
        return places.describe(places.find(self.called.place, _KIND))

    def apply(self, model: "nn.Module", matches: Callable[[str], bool] | None) -> Sequence[str]:
        """Call the function.

        Raises:
            UserError: it raises an exception, returns another model, or has no argument ``matches`` and not all modules
                are in scope.
        """
        function = self._function()
        arguments: dict[str, Any] = self.called.values()
        if self._takes_matches(function):
            arguments["matches"] = matches or (lambda _name: True)
        elif matches is not None:
            raise UserError(
                f"{self.text} takes no argument 'matches', so it cannot quantize a part of a model: leave out "
                "--include and --exclude, or let it take matches(name), which tells whether a module is wanted"
            )
        try:
            returned = function(model, **arguments)
        except Exception as error:
            why = f"{type(error).__name__}: {error}".splitlines()[0]
            raise UserError(f"{self.text} failed ({why}{places.line_of(error)})") from error
        if returned is not None and returned is not model:
            raise UserError(
                f"{self.text} returned a {type(returned).__name__}: it has to change the given model in place"
            )
        return ()

    def _function(self) -> Callable[..., Any]:
        function = places.load(self.called.place, _KIND)
        if not callable(function) or isinstance(function, type):
            raise UserError(f"{self.text} is a {type(function).__name__}: name a function quantize(model)")
        return function

    def _takes_matches(self, function: Callable[..., Any]) -> bool:
        """Return whether the function has the argument; refuse arguments that it does not take."""
        try:
            signature = inspect.signature(function)
        except (TypeError, ValueError):  # written in C
            return False
        takes = "matches" in signature.parameters
        given = dict(self.called.arguments) | ({"matches": ""} if takes else {})
        try:
            signature.bind(None, **given)
        except TypeError as error:
            known = ", ".join(signature.parameters)
            raise UserError(f"{self.text}: {error}; the function's arguments are {known}") from None
        return takes
