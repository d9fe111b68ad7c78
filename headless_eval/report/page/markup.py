"""HTML and SVG elements from Python; text is escaped unless it is already markup."""

from html import escape
from typing import Any

from headless_eval.shared.text import printable

_VOID = {"br", "col", "input"}


class Markup(str):
    """A string that is already HTML; other strings are plain text and are escaped."""


def tag(name: str, *children: Any, **attributes: Any) -> Markup:
    """Return an element.

    Args:
        name: of the element.
        children: in order; ``Markup`` as it is, None left out, all else as escaped text.
        attributes: by name; ``class_`` is ``class``, other underscores are hyphens. None and False leave an
            attribute out, True gives it no value.
    """
    parts = [f"<{name}"]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        key = key.removesuffix("_").replace("_", "-")
        parts.append(f" {key}" if value is True else f' {key}="{escape(_text(value))}"')
    parts.append(">")
    if name in _VOID:
        return Markup("".join(parts))
    return Markup("".join(parts) + join(*children) + f"</{name}>")


def join(*children: Any) -> Markup:
    """Return concatenated markup without an enclosing element."""
    texts = (child if isinstance(child, Markup) else escape(_text(child)) for child in children)
    return Markup("".join(text for child, text in zip(children, texts, strict=True) if child is not None))


def percent(share: float) -> str:
    """Return a share as an SVG length."""
    return f"{_text(100 * share)}%"


def _text(value: Any) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else printable(str(value))
