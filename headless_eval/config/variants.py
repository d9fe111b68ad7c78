"""Variants as text, as flags, files and manifests name them: ``int8_both``, ``float32+flow_steps=5``."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from headless_eval.contracts.variant import Variant
from headless_eval.errors import UserError
from headless_eval.quant.methods import Method
from headless_eval.quant.precision import EVERYTHING, Precision, Scope

_LABEL = re.compile(r"([\w.-]+)=(.*)", re.S)
_SETTING = re.compile(r"\+(\w+)=([^+]+)$")


def parse_variant(text: str, scope: Scope = EVERYTHING) -> Variant:
    """Read ``[LABEL=]PRECISION[+SETTING=VALUE ...]``; the precision is ``DTYPE``, ``DTYPE_MODE`` or a method.

    Args:
        text: such as ``int8_both``, ``float32+flow_steps=5`` or ``fast=float32+flow_steps=5``.
        scope: the modules that the precision applies to.

    Raises:
        UserError: the precision is unknown, or the text is not written like this.
    """
    rest, settings = text, {}
    while found := _SETTING.search(rest):
        settings[found[1]] = _value(found[2])
        rest = rest[: found.start()]
    labelled = _LABEL.fullmatch(rest)
    label, precision = (labelled[1], labelled[2]) if labelled else (None, rest)
    if not precision:
        raise UserError(f"variant {text!r} names no precision: write int8_both, or float32+flow_steps=5")
    return Variant(Precision.parse(precision, scope), dict(reversed(settings.items())), label)


def variants_of(texts: Iterable[str], scope: Scope = EVERYTHING) -> list[Variant]:
    """Return the variants that some texts name, in their order, each once.

    Raises:
        UserError: as of ``parse_variant``; or two different variants have one name.
    """
    found: dict[str, Variant] = {}
    for text in texts:
        variant = parse_variant(text, scope)
        if found.setdefault(variant.name, variant) != variant:
            raise UserError(
                f"two different variants are named {variant.name}: give one of them another label"
            )
    return list(found.values())


def settings_for(variants: Sequence[str | Precision | Method | Variant]) -> dict[str, Any]:
    """Return the settings of a run that has these variants: ``variant``, and the scope's, if one has a scope.

    Raises:
        UserError: precisions have different scopes, which a run cannot have; or a text cannot be read.
    """
    texts, scopes = [], []
    for one in variants:
        if isinstance(one, str):
            texts.append(one)
            continue
        variant = one if isinstance(one, Variant) else Variant(_precision(one))
        precision = variant.precision
        if not isinstance(precision, Precision):
            raise UserError(f"variant {variant.name} has no precision that a run could name")
        texts.append(_spelled(variant, precision))
        if precision.dtype != "float32":
            scopes.append(precision.scope)
    if len(set(scopes)) > 1:
        raise UserError(
            "a run's variants share one scope: evaluate those of another scope in a run of their own"
        )
    scope = scopes[0] if scopes else EVERYTHING
    found: dict[str, Any] = {"variant": texts}
    if scope != EVERYTHING:
        found |= {"include": scope.include, "exclude": scope.exclude}
        found["bits"] = [f"{pattern}={bits}" for pattern, bits in scope.bits]
    return found


def _precision(one: Precision | Method) -> Precision:
    return Precision.of(one) if isinstance(one, Method) else one


def _spelled(variant: Variant, precision: Precision) -> str:
    alone = precision.dtype == "float32" or precision.method is not None or precision.change is not None
    words = [precision.dtype if alone else f"{precision.dtype}_{precision.mode}"]
    words += [f"{name}={value}" for name, value in variant.settings.items()]
    text = "+".join(words)
    return text if variant.label is None else f"{variant.label}={text}"


def _value(text: str) -> str | int | float:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
