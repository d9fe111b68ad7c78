"""Quantization methods: the base class, bits, and how a method's name is read. Imports no torch.

A method is more than a cast: it rounds the weights of linear layers and the *inputs* of these layers, as the
papers do, after changes that cancel in the product. Its name says all of it: ``duquant_w4a8`` is DuQuant with
weights of 4 bits and activations of 8, ``rtn_w4a8_g64`` round-to-nearest with a scale for every 64 weights.

To add a method, write one file here (or a package with an entry point of the group ``headless_eval.methods``): a
dataclass with the method's options, derived from ``Method``, that says how a layer is solved.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

from headless_eval.contracts.registry import Registry
from headless_eval.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from headless_eval.quant.calibration import LayerInputs
    from headless_eval.quant.linears import QuantizedLinear

UNQUANTIZED = 16
"""The number of bits that stands for leaving values as they are."""

_BITS = (*range(2, 9), UNQUANTIZED)


@dataclass(frozen=True)
class Bits:
    """Bits of a layer's weights and of its input; 2 to 8, or 16, which leaves them as they are.

    Raises:
        UserError: a number of bits is neither 2 to 8 nor 16.
    """

    weights: int
    activations: int

    def __post_init__(self) -> None:
        for what, bits in (("weights", self.weights), ("activations", self.activations)):
            if bits not in _BITS:
                raise UserError(f"{what} of {bits} bits: write 2 to 8, or 16, which leaves them as they are")

    @property
    def unquantized(self) -> bool:
        """Whether nothing is rounded."""
        return self.weights == self.activations == UNQUANTIZED

    def changed(self, text: str) -> "Bits":
        """Return these bits with those that ``w8a8``, ``w8``, ``a8`` or ``8`` (weights) names.

        Raises:
            UserError: the text is not written like these, or a number of bits is out of range.
        """
        found = re.fullmatch(r"w?(\d+)|(?:w(\d+))?a(\d+)", text.strip())
        if found is None:
            raise UserError(f"bits {text!r}: write w4a8, w4 (weights alone) or a8 (activations alone)")
        weights = found[1] or found[2]
        return Bits(int(weights or self.weights), int(found[3] or self.activations))

    def __str__(self) -> str:
        return f"w{self.weights}a{self.activations}"


@dataclass(frozen=True)
class Option:
    """How one option of a method is written in the method's name.

    Args:
        pattern: regular expression of the option's word; its group 1 goes to ``read``.
        read: makes the option's value from that group; a ValueError where it is no whole number.
        write: makes the word from the value.
        shown: the word in help texts, such as ``g64``.
    """

    pattern: str
    read: Callable[[str], Any]
    write: Callable[[Any], str]
    shown: str


def number_option(word: str, shown: str, read: Callable[[str], Any] = int) -> Option:
    """Return an option written as a word and a number, such as ``g64``."""
    return Option(rf"{word}(\d+(?:\.\d+)?)", read, lambda value: f"{word}{value:g}", shown)


def flag_option(word: str, value: bool = True) -> Option:
    """Return an option that a word sets to ``value``, the opposite of its default."""
    return Option(rf"({word})", lambda _: value, lambda _: word, word)


@dataclass(frozen=True)
class Method:
    """The base of all methods: bits, and how a name and a layer come of them.

    Args:
        weight_bits: 2 to 8, or 16 for weights as they are.
        activation_bits: of the layers' inputs; 2 to 8, or 16 for inputs as they are. Each token has its own scale.
        every_layer: also quantize the linear layers outside stacks of layers, such as projections of images and
            actions, which the papers leave alone.

    Attributes:
        kind: the first word of the method's names, under which it registers in ``METHODS``.
        needs_calibration: whether its layers are solved from inputs seen on observations.
        options: how its options are written, by field.
        examples: names to suggest to users.

    Raises:
        UserError: a number is out of range, or weights and activations are both left as they are.
    """

    kind: ClassVar[str]
    needs_calibration: ClassVar[bool] = False
    options: ClassVar[Mapping[str, Option]] = {"every_layer": flag_option("all")}
    examples: ClassVar[tuple[str, ...]] = ()

    weight_bits: int = 4
    activation_bits: int = 8
    every_layer: bool = False

    def __post_init__(self) -> None:
        if self.bits.unquantized:
            raise UserError(f"{self.kind}_{self.bits} quantizes nothing")

    def solve(self, weight: "Tensor", bits: Bits, inputs: "LayerInputs | None") -> "QuantizedLinear":
        """Quantize one linear layer.

        Args:
            weight: the layer's, float32 (out, in).
            bits: of this layer; a scope may give it others than the method's.
            inputs: what the layer was given during calibration, as float32 on the weight's device; None where the
                method needs no calibration.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how a layer is solved")

    @classmethod
    def spelling(cls) -> str:
        """Return how the method is written, its options in brackets."""
        options = "".join(f"[_{option.shown}]" for option in cls.options.values())
        return f"{cls.kind}_w{cls.weight_bits}a{cls.activation_bits}{options}"

    @property
    def bits(self) -> Bits:
        """The bits of layers that the scope gives no bits of their own."""
        return Bits(self.weight_bits, self.activation_bits)

    @property
    def name(self) -> str:
        """The spelling that ``parse_method`` reads; options at their defaults are left out."""
        words = [f"{self.kind}_{self.bits}"]
        for field, option in self.options.items():
            value = getattr(self, field)
            if value != getattr(type(self), field):
                words.append(option.write(value))
        return "_".join(words)


METHODS: Registry[type[Method]] = Registry("method", __name__)
"""The methods by kind. ``@METHODS.register("rtn")`` above a subclass of ``Method`` adds one."""


def method_examples() -> tuple[str, ...]:
    """Return names of methods to suggest to users."""
    return tuple(example for _, method in METHODS.items() for example in method.examples)


@lru_cache(maxsize=256)
def parse_method(text: str) -> Method | None:
    """Read a method's name, such as ``duquant_w4a8_b64``; None for a name that begins with no method's kind.

    Raises:
        UserError: the bits are missing, or an option is unknown or out of range.
    """
    kind, *words = text.split("_")
    if kind not in METHODS:
        return None
    method = METHODS[kind]
    if not words or re.fullmatch(r"w\d+a\d+", words[0]) is None:
        raise UserError(f"{text!r} does not say the bits: write {kind}_w{method.weight_bits}a8, for example")
    bits = Bits(16, 16).changed(words[0])
    values: dict[str, Any] = {"weight_bits": bits.weights, "activation_bits": bits.activations}
    for word in words[1:]:
        for field, option in method.options.items():
            if found := re.fullmatch(option.pattern, word):
                try:
                    values[field] = option.read(found[1])
                except ValueError:
                    raise UserError(f"{word!r} in {text!r}: a whole number is needed") from None
                break
        else:
            known = ", ".join(option.shown for option in method.options.values())
            raise UserError(f"{word!r} in {text!r} is no option of {kind}: there are {known}")
    return method(**values)


def check_least(what: str, value: int | None, least: int) -> None:
    """Refuse an option's value below a limit; None passes.

    Raises:
        UserError: the value is below the limit.
    """
    if value is not None and value < least:
        raise UserError(f"the {what} is {value}; it must be {least} or more")


def check_between(what: str, value: float, low: float, high: float) -> None:
    """Refuse an option's value outside a range, whose ends belong to it.

    Raises:
        UserError: the value is outside the range.
    """
    if not low <= value <= high:
        raise UserError(f"the {what} is {value:g}; it must be between {low:g} and {high:g}")
