"""Evaluate vision-language-action policies in simulation at any numerical precision, in one process."""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headless_eval.errors import UserError
    from headless_eval.local_policy import LocalPolicy
    from headless_eval.policies.registry import list_policies, load_policy
    from headless_eval.quant import fake_quantize, quantize_
    from headless_eval.quant.precision import Precision, Scope, configurations

__all__ = [
    "LocalPolicy",
    "Precision",
    "Scope",
    "UserError",
    "configurations",
    "fake_quantize",
    "list_policies",
    "load_policy",
    "quantize_",
]

# Imported when first asked for: torch alone takes seconds, and the command line's help needs none of it.
_HOMES = {
    "LocalPolicy": "local_policy",
    "Precision": "quant.precision",
    "Scope": "quant.precision",
    "UserError": "errors",
    "configurations": "quant.precision",
    "fake_quantize": "quant",
    "list_policies": "policies.registry",
    "load_policy": "policies.registry",
    "quantize_": "quant",
}


# Scripts for 0.1 import it from here.
sys.modules[f"{__name__}.precision"] = import_module(f"{__name__}.quant.precision")


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
