"""Functions compiled by torch: traced once with fixed shapes, then called without Python's guards or hooks."""

import threading
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from headless_eval.errors import UserError
from headless_eval.policies.pi0.config import Pi0Config
from headless_eval.policies.pi0.engine.compiled.rounding import Rounding
from headless_eval.quant import Handle

# By function, rounding, configuration and the arguments' shapes; for all engines of this process.
_compiled: dict[Any, tuple[Callable[..., Any], frozenset[str]]] = {}
_lock = threading.RLock()


class CompiledFunction:
    """A function of ``functions``, compiled when it is first called; always called with the same shapes.

    Args:
        function: takes a rounding, the configuration, and tensors.
        config: the model's.
        rounding: what is rounded in it.
        names: by role, the dotted names of the modules it stands for.
        handle: is told which of them have been rounded.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        config: Pi0Config,
        rounding: Rounding,
        names: Mapping[str, str],
        handle: Handle | None = None,
    ):
        self._of = (function, rounding, config)
        self._names, self._handle = names, handle
        self._run: Callable[..., Any] | None = None

    def __call__(self, *tensors: Tensor) -> Any:
        """Return what the function does; tensors that it writes to are changed."""
        run = self._run
        if run is None:
            run = self._prepare(tensors)
        return run(*tensors)

    def _prepare(self, tensors: tuple[Tensor, ...]) -> Callable[..., Any]:
        shapes = tuple((t.shape, t.stride(), t.dtype, t.device) for t in tensors)
        key = (*self._of, shapes)
        with _lock:
            if key not in _compiled:
                _compiled[key] = _compile(*self._of, tensors)
            self._run, seen = _compiled[key]
        if self._handle is not None:
            self._handle.note(self._names[role] for role in seen)
        return self._run


def _compile(
    function: Callable[..., Any], rounding: Rounding, config: Pi0Config, tensors: tuple[Tensor, ...]
) -> tuple[Callable[..., Any], frozenset[str]]:
    """Return the function compiled, and the roles of the modules whose rounding is in what was compiled."""
    noting = Rounding(rounding.dtype, rounding.roles)

    def part(*given: Tensor) -> Any:
        return function(noting, config, *given)

    with torch.inference_mode(False), torch.no_grad():
        # Tensors made in inference mode cannot be traced, others of their kind can.
        examples = [torch.empty_strided(t.shape, t.stride(), dtype=t.dtype, device=t.device) for t in tensors]
        graph = make_fx(part, tracing_mode="fake")(*examples)
        return _lower(graph, examples), frozenset(noting.seen)


def _lower(graph: torch.fx.GraphModule, examples: list[Tensor]) -> Callable[..., Any]:
    """Return what torch's compiler makes of a graph.

    Raises:
        UserError: compilation fails on this machine; it needs Triton, which needs a C compiler.
    """
    from torch._inductor import config as settings
    from torch._inductor.compile_fx import compile_fx

    options: dict[str, Any] = {"cpp.threads": 1}  # a CPU inference has one thread, whoever compiled it
    if hasattr(settings, "eager_numerics"):
        options["eager_numerics.division_rounding"] = True
    try:
        with settings.patch(options):
            run: Any = compile_fx(graph, examples)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        reason = (str(error).strip().splitlines() or [""])[0]
        raise UserError(
            f"torch's compiler does not work here ({type(error).__name__}: {reason:.200}); use --engine eager"
        ) from error
    return run
