"""Numerical precisions: a data type or a method, what it applies to, and in which modules. Imports no torch."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from headless_eval.errors import UserError
from headless_eval.quant.changes import Change, parse_change
from headless_eval.quant.dtypes import BENCHMARK_DTYPES, DTYPES
from headless_eval.quant.methods import UNQUANTIZED, Bits, Method, method_examples, parse_method
from headless_eval.shared.suggest import unknown

__all__ = ["BENCHMARK_DTYPES", "DTYPES", "EVERYTHING", "MODES", "Precision", "Scope", "configurations"]

MODES = ("weights_only", "activations_only", "both")


@dataclass(frozen=True)
class Scope:
    """Which modules a precision applies to, by regular expressions over their dotted names.

    A module is in scope if ``include`` is found anywhere in its name and ``exclude`` is not, as ``re.search``
    finds them. The root module's name is the empty string.

    ``bits`` gives layers bits of their own, under a method: pairs of an expression and what ``Bits.changed``
    reads, such as ``("mlp", "w8")``. A layer has those of the first pair that is found in its name.

    Raises:
        UserError: an expression does not compile, or the text of some bits cannot be read.
    """

    include: str = ".*"
    exclude: str | None = None
    bits: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        for _, bits in self.bits:
            Bits(8, 8).changed(bits)
        named = [("bits", pattern) for pattern, _ in self.bits]
        for which, pattern in (("include", self.include), ("exclude", self.exclude), *named):
            try:
                re.compile(pattern or "")
            except re.error as error:
                raise UserError(
                    f"scope's {which} {pattern!r} is not a regular expression ({error}); "
                    "write one like 'vision|expert'"
                ) from None

    def matches(self, module_name: str) -> bool:
        """Return whether the module of this dotted name is in scope."""
        if self.exclude is not None and re.search(self.exclude, module_name):
            return False
        return re.search(self.include, module_name) is not None

    def bits_for(self, module_names: Iterable[str], default: Bits) -> Bits:
        """Return the bits of a layer that has these names."""
        names = list(module_names)
        for pattern, bits in self.bits:
            if any(re.search(pattern, name) for name in names):
                return default.changed(bits)
        return default

    def __str__(self) -> str:
        text = self.include if self.exclude is None else f"{self.include} except {self.exclude}"
        return text if not self.bits else f"{text} with {', '.join(f'{p}={b}' for p, b in self.bits)}"


EVERYTHING = Scope()


@dataclass(frozen=True)
class Precision:
    """How a model computes: values of ``dtype`` for the weights, the activations or both, within ``scope``.

    float32 is the model as it is, so its mode and scope mean nothing: they are set to the defaults, and all
    float32 precisions are equal. Methods and changes say themselves what they round, so their mode follows from them.

    Args:
        dtype: one of ``DTYPES``, the name of a method (see ``headless_eval.quant.methods``), or the text of a change
            (see ``headless_eval.quant.changes``).
        mode: one of ``MODES``.
        scope: the modules it applies to; its ``bits`` concern methods alone, and are dropped for a dtype.

    Raises:
        UserError: the dtype or the mode is unknown; the message suggests the nearest.
    """

    dtype: str = "float32"
    mode: str = "weights_only"
    scope: Scope = EVERYTHING

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise unknown("mode", self.mode, MODES)
        if method := self.method:
            object.__setattr__(self, "dtype", method.name)
            object.__setattr__(self, "mode", _mode(method.bits))
            return
        if change := self.change:
            object.__setattr__(self, "dtype", change.text)
            object.__setattr__(self, "mode", change.mode)
            object.__setattr__(self, "scope", Scope(self.scope.include, self.scope.exclude))
            return
        if self.dtype not in DTYPES:
            raise unknown("dtype", self.dtype, (*DTYPES, *method_examples()))
        if self.scope.bits:
            object.__setattr__(self, "scope", Scope(self.scope.include, self.scope.exclude))
        if self.dtype == "float32":
            object.__setattr__(self, "mode", MODES[0])
            object.__setattr__(self, "scope", EVERYTHING)

    @classmethod
    def of(cls, method: Method, scope: Scope = EVERYTHING) -> "Precision":
        """Return the precision of a method."""
        return cls(method.name, scope=scope)

    @property
    def method(self) -> Method | None:
        """Return the method; None for a data type."""
        return parse_method(self.dtype)

    @property
    def change(self) -> Change | None:
        """Return the function or the configuration of torchao that the dtype names; None for others."""
        return parse_change(self.dtype)

    @property
    def source(self) -> dict[str, Any] | None:
        """Return where the code of a change comes from, for a run's manifest; None for other precisions."""
        return self.change.origin() if self.change else None

    @property
    def weights(self) -> bool:
        """Return whether it changes the weights."""
        return self.dtype != "float32" and self.mode != "activations_only"

    @property
    def activations(self) -> bool:
        """Return whether it changes the activations."""
        return self.dtype != "float32" and self.mode != "weights_only"

    @property
    def name(self) -> str:
        """Return the configuration's name in files: ``float8_e4m3_both``; ``float32``, methods and changes alone.

        A scope other than the default adds ``_scope_`` and eight hex digits of its hash, since regular
        expressions make no file names.
        """
        if self.dtype == "float32":
            return self.dtype
        if self.change is not None:
            name = self.change.name
        else:
            name = self.dtype if self.method else f"{self.dtype}_{self.mode}"
        if self.scope == EVERYTHING:
            return name
        text = repr((self.scope.include, self.scope.exclude, *self.scope.bits))
        return f"{name}_scope_{hashlib.sha256(text.encode()).hexdigest()[:8]}"

    @classmethod
    def parse(cls, text: str, scope: Scope = EVERYTHING) -> "Precision":
        """Read ``DTYPE`` (weights only) or ``DTYPE_MODE``.

        Raises:
            UserError: the dtype is unknown.
        """
        for mode in MODES if ":" not in text else ():
            if text.endswith(f"_{mode}"):
                return cls(text.removesuffix(f"_{mode}"), mode, scope)
        return cls(text, MODES[0], scope)


def _mode(bits: Bits) -> str:
    if bits.activations == UNQUANTIZED:
        return "weights_only"
    return "activations_only" if bits.weights == UNQUANTIZED else "both"


def configurations(dtypes: Iterable[str], modes: Iterable[str], scope: Scope = EVERYTHING) -> list[Precision]:
    """Return every dtype in every mode, and every method once, in the order given, without duplicates.

    If float32, to which the others are compared, is among them, it comes first, and once.

    Raises:
        UserError: a dtype or a mode is unknown, no dtype or no mode is given, or two functions have the same name.
    """
    modes = list(modes)
    pairs = [Precision(dtype, mode, scope) for dtype in dtypes for mode in modes]
    if not pairs:
        raise UserError("no configuration to run: name at least one dtype and one mode")
    found = sorted(dict.fromkeys(pairs), key=lambda precision: precision.dtype != "float32")
    by_name: dict[str, Precision] = {}
    for precision in found:
        other = by_name.setdefault(precision.name, precision)
        if other is not precision:
            raise UserError(
                f"{other.dtype} and {precision.dtype} would both be called {precision.name}: rename one of them"
            )
    return found
