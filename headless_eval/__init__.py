"""Evaluate vision-language-action policies in simulation at any numerical precision, in one process.

The public names are those of ``__all__``; docs/api.md describes them. Everything else may change without notice.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headless_eval.contracts.policy import Policy
    from headless_eval.contracts.robots import Robot
    from headless_eval.contracts.simulator import Difficulty, EpisodeOutcome, Simulator, StepResult, Task
    from headless_eval.contracts.variant import Variant
    from headless_eval.errors import UserError
    from headless_eval.local_policy import LocalPolicy, load_policy
    from headless_eval.policies.registry import list_policies
    from headless_eval.quant import Precision, Scope, configurations, fake_quantize, quantize_
    from headless_eval.report.run import Run, read_run
    from headless_eval.runs.run import evaluate
    from headless_eval.sims.gym.suite import GymSuite
    from headless_eval.sims.registry import SimulatorSettings, Suite

__all__ = [
    "Difficulty",
    "EpisodeOutcome",
    "GymSuite",
    "LocalPolicy",
    "Policy",
    "Precision",
    "Robot",
    "Run",
    "Scope",
    "Simulator",
    "SimulatorSettings",
    "StepResult",
    "Suite",
    "Task",
    "UserError",
    "Variant",
    "configurations",
    "evaluate",
    "fake_quantize",
    "list_policies",
    "load_policy",
    "quantize_",
    "read_run",
]

# Imported when first asked for: torch alone takes seconds, and the command line's help needs none of it.
_HOMES = {
    "Difficulty": "contracts.simulator",
    "EpisodeOutcome": "contracts.simulator",
    "GymSuite": "sims.gym.suite",
    "LocalPolicy": "local_policy",
    "Policy": "contracts.policy",
    "Precision": "quant",
    "Robot": "contracts.robots",
    "Run": "report.run",
    "Scope": "quant",
    "Simulator": "contracts.simulator",
    "SimulatorSettings": "sims.registry",
    "StepResult": "contracts.simulator",
    "Suite": "sims.registry",
    "Task": "contracts.simulator",
    "UserError": "errors",
    "Variant": "contracts.variant",
    "configurations": "quant",
    "evaluate": "runs.run",
    "fake_quantize": "quant",
    "list_policies": "policies.registry",
    "load_policy": "local_policy",
    "quantize_": "quant",
    "read_run": "report.run",
}

# Programs written for version 0.1 import it from here.
sys.modules[f"{__name__}.precision"] = import_module(f"{__name__}.quant.precision")


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
