"""Activations of a JAX policy: the outputs of Flax modules without children, rounded while functions are traced.

A traced function is kept by ``jax.jit``, so a precision is part of JAX's own key of traces (``jax.make_user_context``):
in a precision functions are traced anew, with the outputs rounded, and at float32 the earlier traces are used.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen, nnx
from flax.nnx import bridge

from headless_eval.errors import UserError
from headless_eval.quant.dtypes import per_channel
from headless_eval.quant.jax_models.casts import fake_quantize
from headless_eval.quant.precision import Precision

_NAME = "to_nnx__headless_eval_name"
"""An attribute of NNX modules, which copies of a module in a traced function have, too. Flax's ``ToNNX`` takes
attributes for variables unless they begin so."""

_fake_quantize = jax.jit(fake_quantize, static_argnums=(1, 2))
_tracing: Any = jax.make_user_context(default_value=None)
_calls = threading.local()


class Rounding:
    """A precision of a policy; JAX traces functions anew for each.

    Args:
        precision: the precision.
        policy: the policy's name, for messages.

    Attributes:
        fired: names of the modules whose outputs have been rounded.
    """

    def __init__(self, precision: Precision, policy: str) -> None:
        self.precision, self._policy = precision, policy
        self.fired: set[str] = set()

    @contextmanager
    def active(self) -> Iterator[None]:
        """Compute in this precision within the block, on this thread."""
        with ExitStack() as stack:
            stack.enter_context(_tracing(self))
            if self.precision.activations:
                stack.enter_context(linen.intercept_methods(_intercept))
            yield

    def of_output(self, output: Any, name: str) -> Any:
        """Return a module's output with every floating-point array in it rounded.

        Raises:
            UserError: the module is called under ``jax.vmap``, where samples cannot be told apart from tokens.
        """
        if not self.precision.scope.matches(name):
            return output
        dtype = self.precision.dtype

        def change(leaf: Any) -> Any:
            if not isinstance(leaf, jax.Array) or not jnp.issubdtype(leaf.dtype, jnp.floating):
                return leaf
            if type(leaf).__name__ == "BatchTracer":
                raise UserError(
                    f"the outputs of {name or 'the model'} of {self._policy} cannot be rounded: it is called under "
                    "jax.vmap; call it with a batch, or use weights_only"
                )
            self.fired.add(name)
            return _fake_quantize(leaf, dtype, output_axes(leaf.ndim, dtype))

        return jax.tree.map(change, output)


def output_axes(ndim: int, dtype: str) -> tuple[int, ...]:
    """Return the axes of an output whose indices have scales of their own: samples, or all but the features."""
    if per_channel(dtype):
        return tuple(range(ndim - 1))
    return (0,) if ndim >= 2 else ()


def children_of(module: nnx.Module) -> dict[str, nnx.Module]:
    """Return the modules in an NNX module that can be called, itself included, by dotted name."""
    return {
        ".".join(map(str, path)): node
        for path, node in nnx.iter_graph(module)
        if isinstance(node, nnx.Module) and callable(node)
    }


def leaves_of(module: nnx.Module) -> dict[str, nnx.Module]:
    """Return the modules without children that can be called, by dotted name; modules of Linen are not entered."""
    found = children_of(module)
    parents = {name.rpartition(".")[0] for name in found if name}
    while grown := {name.rpartition(".")[0] for name in parents if name} - parents:
        parents |= grown
    return {
        name: node
        for name, node in found.items()
        if name not in parents and not isinstance(node, bridge.ToNNX | nnx.Rngs)
    }


class Hooks:
    """Rounds the outputs of an NNX module's leaves wherever their classes are called in a precision.

    Args:
        module: the module.
        prefix: what names begin with.

    Attributes:
        names: of the leaves.
        bridges: what the names of weights of Linen modules within the NNX module begin with.
    """

    def __init__(self, module: nnx.Module, prefix: str) -> None:
        self.names = [f"{prefix}{name}" for name in leaves_of(module)]
        self._modules = children_of(module)
        for name, node in self._modules.items():
            vars(node)[_NAME] = f"{prefix}{name}"  # not by setattr, which would leave a trace in the module
        found = [name for name, node in self._modules.items() if isinstance(node, bridge.ToNNX)]
        self.bridges = tuple(f"{prefix}{name}." if name else prefix for name in found)
        if found:
            _patch(bridge.ToNNX, _call_linen)
        for node in leaves_of(module).values():
            _patch(type(node), _call_leaf)

    def remove(self) -> None:
        """Take the names off the modules; classes keep a function that does nothing out of a precision."""
        for node in self._modules.values():
            vars(node).pop(_NAME, None)


def _patch(kind: type, call: Callable[..., Any]) -> None:
    """Let a class's calls pass through a function, once."""
    original = kind.__call__
    if getattr(original, "_rounds_outputs", False):
        return

    @wraps(original)
    def called(self: Any, *args: Any, **kwargs: Any) -> Any:
        rounding = _tracing.value
        if rounding is None or not rounding.precision.activations:
            return original(self, *args, **kwargs)
        return call(rounding, original, self, *args, **kwargs)

    called._rounds_outputs = True  # type: ignore[attr-defined]
    kind.__call__ = called  # type: ignore[method-assign]


def _call_leaf(rounding: Rounding, original: Callable[..., Any], self: Any, *args: Any, **kwargs: Any) -> Any:
    name = vars(self).get(_NAME)
    output = original(self, *args, **kwargs)
    if len(children_of(self)) > 1:  # another module of this class has children
        return output
    if name is None:
        raise UserError(
            f"a {type(self).__name__} is called that is not among the modules of the policy as they were found, so its "
            "outputs cannot be rounded: make the module an attribute of the policy, or use weights_only"
        )
    return rounding.of_output(output, name)


def _call_linen(
    rounding: Rounding, original: Callable[..., Any], self: Any, *args: Any, **kwargs: Any
) -> Any:
    before = getattr(_calls, "prefix", "")
    name = vars(self).get(_NAME)
    _calls.prefix = f"{name}." if name else ""
    try:
        return original(self, *args, **kwargs)
    finally:
        _calls.prefix = before


def _intercept(next_function: Callable[..., Any], args: Any, kwargs: Any, context: Any) -> Any:
    """Round what a Linen module without children returns to its caller."""
    module, rounding = context.module, _tracing.value
    inside = getattr(_calls, "inside", ())
    if rounding is None or context.method_name == "setup" or id(module) in inside:
        return next_function(*args, **kwargs)
    _calls.inside = (*inside, id(module))
    try:
        output = next_function(*args, **kwargs)
    finally:
        _calls.inside = inside
    if any(isinstance(child, linen.Module) for child in module._state.children.values()):
        return output
    name = getattr(_calls, "prefix", "") + ".".join(map(str, module.path))
    return rounding.of_output(output, name.rstrip("."))
