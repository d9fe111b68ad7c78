"""torchao's configurations by name, such as ``torchao:Int8WeightOnlyConfig()``. Imports neither torch nor torchao."""

import ast
import inspect
import logging
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from headless_eval.errors import UserError
from headless_eval.shared.calls import Call, clean
from headless_eval.shared.program import install
from headless_eval.shared.suggest import unknown

if TYPE_CHECKING:
    from torch import nn

_MODULES = ("torchao.quantization", "torchao.prototype.mx_formats")
"""Where torchao keeps configurations; the second has the MX formats and NVFP4."""


@dataclass(frozen=True)
class TorchaoConfig:
    """A configuration of torchao with its arguments, applied by ``torchao.quantization.quantize_``.

    Arguments are literals, types (``torch.int4``) and torchao's own small classes with literal arguments
    (``PerGroup(32)``).

    Args:
        called: the configuration's name and keyword arguments.

    Raises:
        UserError: an argument's value is neither a literal, a type, nor such a class.
    """

    called: Call

    def __post_init__(self) -> None:
        self.called.values(partial(_read, types=str, classes=lambda name, _args, _keywords: name))

    @property
    def text(self) -> str:
        """How it is written after ``--dtypes``."""
        return str(self.called)

    @property
    def name(self) -> str:
        """The configuration's name in lower case, and its arguments: ``torchao_int4_weight_only_group_size_32``."""
        words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", self.called.name.removesuffix("Config")).lower()
        shown = {key: text.replace("torch.", "").strip("'\"") for key, text in self.called.arguments}
        return clean(f"torchao_{words}", {key: _number(text) for key, text in shown.items()})

    @property
    def mode(self) -> str:
        """``weights_only`` if the name says so, else ``both``."""
        return "weights_only" if "WeightOnly" in self.called.name else "both"

    def check(self) -> None:
        """Import torchao and make the configuration.

        Raises:
            UserError: torchao is missing, or has no such configuration or argument.
        """
        self._config()

    def origin(self) -> dict[str, Any]:
        """Return the package and its version."""
        from importlib.metadata import version

        _torchao()
        return {
            "origin": {
                "place": f"torchao:{self.called.name}",
                "distribution": "torchao",
                "version": version("torchao"),
            }
        }

    def apply(self, model: "nn.Module", matches: Callable[[str], bool] | None) -> Sequence[str]:
        """Quantize the linear layers in scope, as torchao chooses them.

        Returns:
            The names of these layers.

        Raises:
            UserError: torchao cannot do this on this device or with this version of torch, or no linear layer is in
                scope.
        """
        config, quantization = self._config(), _torchao()[0]
        chosen: list[str] = []
        usual = inspect.signature(quantization.quantize_).parameters["filter_fn"].default

        def wanted(module: "nn.Module", name: str) -> bool:
            if not usual(module, name) or (matches is not None and not matches(name)):
                return False
            chosen.append(name)
            return True

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                quantization.quantize_(model, config, filter_fn=wanted)
        except Exception as error:
            why = f"{type(error).__name__}: {error}".splitlines()[0]
            at = f"; the layer is {chosen[-1]}, which --exclude can leave out" if chosen else ""
            raise UserError(f"torchao cannot apply {self.text} here ({why}{at})") from error
        if not chosen:
            raise UserError(
                f"the scope matches no linear layer of the {type(model).__name__}, and {self.text} changes only these: "
                "widen it"
            )
        return chosen

    def _config(self) -> Any:
        modules = _torchao()
        base = import_module("torchao.core.config").AOBaseConfig
        known = {
            name: kind
            for module in modules
            for name, kind in vars(module).items()
            if isinstance(kind, type)
            and issubclass(kind, base)
            and re.fullmatch(r"(?!AOPerModule|Fqn|ModuleFqn).+Config", name)
        }
        if self.called.name not in known:
            raise unknown("configuration of torchao", self.called.name, sorted(known))
        kind = known[self.called.name]

        def nested(name: str, args: Sequence[Any], keywords: dict[str, Any]) -> Any:
            inner = known.get(name) or getattr(modules[0], name, None)
            if not isinstance(inner, type):
                granular = [one for one in dir(modules[0]) if one.startswith("Per")]
                raise unknown("value of torchao", name, granular)
            return inner(*args, **keywords)

        values = self.called.values(partial(_read, types=_torch_type, classes=nested))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return kind(**values)
        except Exception as error:
            why = f"{error or type(error).__name__}".splitlines()[0].replace(
                f"{kind.__name__}.__init__() ", ""
            )
            options = ", ".join(inspect.signature(kind).parameters)
            raise UserError(f"{self.text}: {why}; its arguments are {options}") from error


def _torchao() -> list[Any]:
    """Return torchao's modules that have configurations.

    Raises:
        UserError: torchao is not installed, or does not fit the installed torch.
    """
    try:
        with _quiet_loggers():
            return [import_module(name) for name in _MODULES]
    except ImportError as error:
        if error.name is not None and error.name.partition(".")[0] == "torchao" and not _installed():
            raise UserError(
                f"torchao's configurations need the extra torchao: {install('headless-eval[torchao]')}"
            ) from None
        raise UserError(f"the installed torchao does not fit the installed torch ({error})") from error


@contextmanager
def _quiet_loggers() -> Iterator[None]:
    """Hold back what torchao logs while it is imported: which of its kernels were built for other machines."""
    loggers = [logging.getLogger(name) for name in ("torchao", "torch.utils._pytree")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _installed() -> bool:
    from importlib.util import find_spec

    return find_spec("torchao") is not None


def _torch_type(name: str) -> Any:
    import torch

    value = getattr(torch, name.removeprefix("torch."), None)
    if not isinstance(value, torch.dtype):
        raise ValueError(f"torch has no type {name}")
    return value


def _read(
    node: ast.expr,
    types: Callable[[str], Any],
    classes: Callable[[str, Sequence[Any], dict[str, Any]], Any],
) -> Any:
    """Return the value of a literal, of ``torch.NAME``, or of a class with such arguments.

    Args:
        node: the parsed expression.
        types: makes a type from ``torch.NAME``.
        classes: makes an object from a class's name and arguments.

    Raises:
        ValueError: the expression is something else.
    """
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "torch":
        return types(f"torch.{node.attr}")
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        args = [_read(one, types, classes) for one in node.args]
        keywords = {str(one.arg): _read(one.value, types, classes) for one in node.keywords}
        return classes(node.func.id, args, keywords)
    if isinstance(node, ast.List | ast.Tuple):
        items = [_read(one, types, classes) for one in node.elts]
        return items if isinstance(node, ast.List) else tuple(items)
    return ast.literal_eval(node)


def _number(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
