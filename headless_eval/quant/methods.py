"""Methods of quantization: what each is made of, and how it is spelled. Imports no torch.

A method is more than a cast: it rounds the weights of linear layers and the *inputs* of these layers, as the
papers do, after changes that cancel in the product. Its name says all of it: ``duquant_w4a8`` is DuQuant with
weights of 4 bits and activations of 8, ``rtn_w4a8_g64`` round-to-nearest with a scale for every 64 weights.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

from headless_eval.errors import UserError

UNQUANTIZED = 16
"""The number of bits that stands for leaving values as they are."""

_BITS = (*range(2, 9), UNQUANTIZED)


@dataclass(frozen=True)
class Bits:
    """Bits of a layer's weights and of its input; 2 to 8, or 16, which leaves them as they are."""

    weights: int
    activations: int

    def __post_init__(self) -> None:
        for what, bits in (("weights", self.weights), ("activations", self.activations)):
            if bits not in _BITS:
                raise UserError(
                    f"{what} of {bits} bits: there are 2 to 8, and 16, which leaves them as they are"
                )

    @property
    def unquantized(self) -> bool:
        """Whether nothing is rounded."""
        return self.weights == self.activations == UNQUANTIZED

    def changed(self, text: str) -> "Bits":
        """Return these bits with those that ``w8a8``, ``w8``, ``a8`` or ``8`` (weights) names.

        Raises:
            UserError: it names none.
        """
        found = re.fullmatch(r"w?(\d+)|(?:w(\d+))?a(\d+)", text.strip())
        if found is None:
            raise UserError(f"bits {text!r}: write w4a8, w4 (weights alone) or a8 (activations alone)")
        weights = found[1] or found[2]
        return Bits(int(weights or self.weights), int(found[3] or self.activations))

    def __str__(self) -> str:
        return f"w{self.weights}a{self.activations}"


@dataclass(frozen=True)
class Word:
    """How an option is written in a name, and read; ``shown`` is how help shows it."""

    pattern: str
    read: Callable[[str], Any]
    write: Callable[[Any], str]
    shown: str


def _number(word: str, shown: str, read: Callable[[str], Any] = int) -> Word:
    return Word(rf"{word}(\d+(?:\.\d+)?)", read, lambda value: f"{word}{value:g}", shown)


def _flag(word: str, value: bool = True) -> Word:
    return Word(rf"({word})", lambda _: value, lambda _: word, word)


@dataclass(frozen=True)
class Method:
    """What all methods share.

    Args:
        weight_bits: 2 to 8, or 16 for none.
        activation_bits: of the layers' inputs; 2 to 8, or 16 for none. Each token has its own scale.
        every_layer: also the linear layers outside stacks of layers, such as projections of images and
            actions, which the papers leave alone.

    Raises:
        UserError: a number is out of range, or nothing is quantized.
    """

    kind: ClassVar[str]
    needs_calibration: ClassVar[bool] = False
    words: ClassVar[Mapping[str, Word]] = {"every_layer": _flag("all")}

    weight_bits: int = 4
    activation_bits: int = 8
    every_layer: bool = False

    def __post_init__(self) -> None:
        if self.bits.unquantized:
            raise UserError(f"{self.kind}_{self.bits} quantizes nothing")

    @classmethod
    def spelling(cls) -> str:
        """Return how the method is written, its options in brackets."""
        options = "".join(f"[_{word.shown}]" for word in cls.words.values())
        return f"{cls.kind}_w{cls.weight_bits}a{cls.activation_bits}{options}"

    @property
    def bits(self) -> Bits:
        """The bits of layers without any of their own."""
        return Bits(self.weight_bits, self.activation_bits)

    @property
    def name(self) -> str:
        """The spelling that ``parse_method`` reads; options at their defaults are left out."""
        words = [f"{self.kind}_{self.bits}"]
        for option, word in self.words.items():
            value = getattr(self, option)
            if value != getattr(type(self), option):
                words.append(word.write(value))
        return "_".join(words)


@dataclass(frozen=True)
class RoundToNearest(Method):
    """Round weights and inputs to the nearest step, and nothing else: ``rtn``.

    Args:
        group_size: how many weights of an output channel, one after another, share a scale; None: all.
        clip_weights: choose each scale so that the squared error is least, not so that the largest weight fits.
    """

    kind: ClassVar[str] = "rtn"
    words: ClassVar[Mapping[str, Word]] = {
        "group_size": _number("g", "g64"),
        "clip_weights": _flag("clip"),
        **Method.words,
    }

    group_size: int | None = None
    clip_weights: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        _least("group size", self.group_size, 1)


@dataclass(frozen=True)
class SmoothQuant(Method):
    """Divide each input channel by a factor and multiply its weights by it, so that outliers wander from
    activations to weights: ``smoothquant`` (Xiao et al., 2023, arXiv 2211.10438).

    Args:
        alpha: migration strength, 0 to 1: the factor is max|x|^alpha / max|w|^(1 - alpha).
    """

    kind: ClassVar[str] = "smoothquant"
    needs_calibration: ClassVar[bool] = True
    words: ClassVar[Mapping[str, Word]] = {"alpha": _number("alpha", "alpha0.5", float), **Method.words}

    weight_bits: int = 8
    alpha: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        _between("alpha", self.alpha, 0, 1)


@dataclass(frozen=True)
class DuQuant(Method):
    """Rotate outliers into their neighbours, deal channels out to blocks, rotate again: ``duquant`` (Lin et al.,
    2024, arXiv 2406.01721).

    Args:
        block: channels rotated together; the largest divisor of a layer's width up to this.
        steps: greedy steps that a rotation is searched with.
        permute: deal the channels out between the rotations, by magnitude, to and fro (zigzag).
        row_rotation: also rotate the output channels, so that their weights are rounded in their principal axes;
            undone after the product, in float32.
        percentile: of the magnitudes seen in calibration; no token's scale reaches further, so that larger values
            are clipped. None: by layer the one with the least squared error, of some.
        smooth: strength of the smoothing before the first rotation: factors (max|x| / max|w|)^smooth; 0 is none.
        clip_weights: choose each output channel's scale so that the squared error is least.
    """

    kind: ClassVar[str] = "duquant"
    needs_calibration: ClassVar[bool] = True
    words: ClassVar[Mapping[str, Word]] = {
        "block": _number("b", "b64"),
        "steps": _number("steps", "steps16"),
        "permute": _flag("noperm", False),
        "row_rotation": _flag("rowrot"),
        "percentile": _number("pct", "pct99.9", float),
        "smooth": _number("ls", "ls0.5", float),
        "clip_weights": _flag("noclip", False),
        **Method.words,
    }

    block: int = 64
    steps: int = 16
    permute: bool = True
    row_rotation: bool = False
    percentile: float | None = None
    smooth: float = 0.5
    clip_weights: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        _least("block", self.block, 1)
        _least("steps", self.steps, 1)
        _between("smoothing", self.smooth, 0, 1)
        if self.percentile is not None:
            _between("percentile", self.percentile, 50, 100)


METHODS: Mapping[str, type[Method]] = {
    method.kind: method for method in (RoundToNearest, SmoothQuant, DuQuant)
}
EXAMPLES = ("rtn_w4a16", "rtn_w4a8", "rtn_w4a8_g64", "smoothquant_w8a8", "duquant_w4a8", "duquant_w4a4")


@lru_cache(maxsize=256)
def parse_method(text: str) -> Method | None:
    """Read a method's name, such as ``duquant_w4a8_b64``; None if it is none's.

    Raises:
        UserError: a method's name is followed by what it does not know.
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
        for name, known in method.words.items():
            if found := re.fullmatch(known.pattern, word):
                try:
                    values[name] = known.read(found[1])
                except ValueError:
                    raise UserError(f"{word!r} in {text!r}: a whole number is needed") from None
                break
        else:
            there = ", ".join(known.shown for known in method.words.values())
            raise UserError(f"{word!r} in {text!r} is no option of {kind}: there are {there}")
    return method(**values)


def _least(what: str, value: int | None, least: int) -> None:
    if value is not None and value < least:
        raise UserError(f"the {what} is {value}; it must be {least} or more")


def _between(what: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise UserError(f"the {what} is {value:g}; it must be between {low:g} and {high:g}")
