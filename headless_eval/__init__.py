"""Evaluate vision-language-action policies in simulation at any numerical precision, in one process."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headless_eval.errors import UserError
    from headless_eval.local_policy import LocalPolicy
    from headless_eval.policies import list_policies, load_policy
    from headless_eval.precision import Precision, Scope, configurations
    from headless_eval.quant import fake_quantize, quantize_

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
    "Precision": "precision",
    "Scope": "precision",
    "UserError": "errors",
    "configurations": "precision",
    "fake_quantize": "quant",
    "list_policies": "policies",
    "load_policy": "policies",
    "quantize_": "quant",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
