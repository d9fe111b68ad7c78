"""Inference engines of π0, selected by name; all have one interface. Imports no torch.

``eager`` is the model itself, the reference for the other engines.
"""

import logging
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from headless_eval.contracts.policy import Engine
from headless_eval.errors import UserError
from headless_eval.quant.precision import Precision
from headless_eval.shared.suggest import unknown

if TYPE_CHECKING:
    from headless_eval.policies.pi0.model import Pi0
    from headless_eval.quant import Handle

_log = logging.getLogger(__name__)

ENGINES = ("auto", "eager", "compiled", "fused")
EXECUTIONS = ("simulated", "native")


def make_engine(
    name: str,
    model: "Pi0",
    precision: Precision | None = None,
    execution: str = "simulated",
    handle: "Handle | None" = None,
) -> Engine:
    """Return an engine for a model in its present state.

    Args:
        name: one of ``ENGINES``. ``auto`` is the fastest engine that supports this precision on this device.
        model: the model on its device; for simulated execution already quantized, for native execution unquantized.
        precision: the precision; by default float32.
        execution: one of ``EXECUTIONS``. ``simulated`` computes with rounded values in the weights' type,
            ``native`` with the narrow types themselves.
        handle: what ``quantize_`` returned; an engine that quantizes outputs without calling the model's modules
            tells it which.

    Raises:
        UserError: the engine or execution does not exist, or does not support this model, precision and device.
    """
    precision = precision or Precision()
    if name not in ENGINES:
        raise unknown("engine", name, ENGINES)
    if execution not in EXECUTIONS:
        raise unknown("execution", execution, EXECUTIONS)
    if handle is not None and handle.needs_modules:  # only the modules themselves call hooks
        if name not in ("auto", "eager"):
            raise UserError(f"the engine {name!r} does not compute {precision.name}; leave --engine at auto")
        name = "eager"
    on_gpu = model.device.type == "cuda"
    fused = _fused() if on_gpu and name in ("auto", "fused") else None
    if fused is not None and fused.supports(model, precision, execution):
        return fused.Fused(model, precision, execution)
    if name == "fused":
        why = "it needs a CUDA GPU" if not on_gpu else "it needs triton" if fused is None else None
        why = why or f"it does not compute {precision.name} of this model on this GPU"
        raise UserError(f"the engine 'fused' cannot be used here: {why}; leave --engine at auto")
    if execution == "native":
        where = f"the engine {name!r} has none" if name != "auto" else "it needs a CUDA GPU"
        if on_gpu and name == "auto":
            where = f"no engine computes {precision.name} so on this GPU"
        raise UserError(f"no native execution: {where}; use --execution simulated")
    if name in ("auto", "compiled"):
        from headless_eval.policies.pi0.engine.compiled import engine as compiled
        from headless_eval.policies.pi0.engine.cpu import engine as cpu

        why = compiled.why_not(precision) if on_gpu else cpu.why_not(model, precision)
        if why is None:
            make = compiled.CompiledEngine if on_gpu else cpu.CpuEngine
            return make(model, precision, handle)
        if name == "compiled":
            raise UserError(f"the engine 'compiled' cannot be used here: {why}; leave --engine at auto")
        _warn_once(f"inference at half the speed or less (engine eager): {why}")
    from headless_eval.policies.paligemma.batch import EagerEngine

    return EagerEngine(model)


@lru_cache
def _warn_once(text: str) -> None:
    _log.warning(text)


def _fused() -> Any:
    """Return the module of hand-written kernels; None if Triton is not installed."""
    try:
        from headless_eval.policies.pi0.engine.fused import engine as fused  # imports triton
    except ImportError:
        return None
    return fused
