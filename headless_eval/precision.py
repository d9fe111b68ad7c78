"""What a numerical precision is: a data type, what it applies to, and which modules. Imports no torch."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from headless_eval.errors import UserError
from headless_eval.suggest import unknown

BENCHMARK_DTYPES = (
    "float32",
    "float16",
    "bfloat16",
    "float8_e4m3",
    "float8_e5m2",
    "int32",
    "uint32",
    "boolean",
)
DTYPES = (*BENCHMARK_DTYPES, "int8", "int4")
MODES = ("weights_only", "activations_only", "both")


@dataclass(frozen=True)
class Scope:
    """Which modules a precision applies to, by regular expressions over their dotted names.

    A module is in scope if ``include`` is found anywhere in its name and ``exclude`` is not, as ``re.search``
    finds them. The root module's name is the empty string.

    Raises:
        UserError: an expression does not compile.
    """

    include: str = ".*"
    exclude: str | None = None

    def __post_init__(self) -> None:
        for which, pattern in (("include", self.include), ("exclude", self.exclude)):
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

    def __str__(self) -> str:
        return self.include if self.exclude is None else f"{self.include} except {self.exclude}"


EVERYTHING = Scope()


@dataclass(frozen=True)
class Precision:
    """How a model computes: values of ``dtype`` for the weights, the activations or both, within ``scope``.

    float32 is the model as it is, so its mode and scope mean nothing: they are set to the defaults, and all
    float32 precisions are equal.

    Args:
        dtype: one of ``DTYPES``.
        mode: one of ``MODES``.
        scope: the modules it applies to.

    Raises:
        UserError: dtype or mode is not known; the message names the nearest one.
    """

    dtype: str = "float32"
    mode: str = "weights_only"
    scope: Scope = EVERYTHING

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise unknown("dtype", self.dtype, DTYPES)
        if self.mode not in MODES:
            raise unknown("mode", self.mode, MODES)
        if self.dtype == "float32":
            object.__setattr__(self, "mode", MODES[0])
            object.__setattr__(self, "scope", EVERYTHING)

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
        """Return the configuration's name in files: ``float8_e4m3_both``, or ``float32`` alone.

        A scope other than the default adds ``_scope_`` and eight hex digits of its hash, since regular
        expressions make no file names.
        """
        if self.dtype == "float32":
            return self.dtype
        name = f"{self.dtype}_{self.mode}"
        if self.scope == EVERYTHING:
            return name
        text = repr((self.scope.include, self.scope.exclude))
        return f"{name}_scope_{hashlib.sha256(text.encode()).hexdigest()[:8]}"

    @classmethod
    def parse(cls, text: str, scope: Scope = EVERYTHING) -> "Precision":
        """Read ``DTYPE`` (weights only) or ``DTYPE_MODE``.

        Raises:
            UserError: the text names no dtype and mode.
        """
        for mode in MODES:
            if text.endswith(f"_{mode}"):
                return cls(text.removesuffix(f"_{mode}"), mode, scope)
        return cls(text, MODES[0], scope)


def configurations(dtypes: Iterable[str], modes: Iterable[str], scope: Scope = EVERYTHING) -> list[Precision]:
    """Return every dtype in every mode, in the order given, without duplicates.

    float32, to which the others are compared, comes first if it is among them, and once.

    Raises:
        UserError: a name is not known, or there is none.
    """
    modes = list(modes)
    pairs = [Precision(dtype, mode, scope) for dtype in dtypes for mode in modes]
    if not pairs:
        raise UserError("no configuration to run: name at least one dtype and one mode")
    return sorted(dict.fromkeys(pairs), key=lambda precision: precision.dtype != "float32")
