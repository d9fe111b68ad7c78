"""A JAX policy's model: its weights, and how it enters a precision and leaves it."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import jax
import numpy as np
import torch
from flax import nnx
from torch import Tensor

from headless_eval.errors import UserError
from headless_eval.quant.jax_models.activations import Hooks, Rounding
from headless_eval.quant.jax_models.weights import (
    Source,
    Weight,
    closures,
    find_sources,
    holds_arrays,
    num_elements,
    replaced,
    unnamed,
)
from headless_eval.quant.precision import Precision


def find_jax_model(policy: Any) -> "JaxModel | None":
    """Return the JAX model of a policy, or of the policy that it wraps; None for a policy without JAX weights."""
    sources = find_sources(policy)
    if sources or unnamed(policy, sources):
        return JaxModel(policy, sources)
    for name in ("policy", "_policy"):
        inner = getattr(policy, "__dict__", {}).get(name)
        if inner is not None and inner is not policy:
            return find_jax_model(inner)
    return None


class JaxModel:
    """The weights of a JAX policy, and what its functions compute; follows ``quant.model.Model``.

    Args:
        policy: the object with the weights and the functions.
        sources: its attributes that hold weights.
    """

    def __init__(self, policy: Any, sources: list[Source]) -> None:
        self._policy, self._sources = policy, sources
        self._handle: JaxHandle | None = None
        self._roundings: dict[Precision, Rounding] = {}

    libraries = ("jax", "jaxlib", "flax")

    @property
    def device(self) -> str:
        """The device of the weights, as JAX names its platform."""
        return next(
            (str(device.platform) for weight in self.weights() for device in weight.array.devices()), "cpu"
        )

    def weights(self) -> list[Weight]:
        """Return the floating-point weights at present."""
        return [weight for source in self._sources for weight in source.weights()]

    @property
    def num_parameters(self) -> int:
        """How many numbers the weights hold."""
        return num_elements(self.weights())

    @property
    def module_sizes(self) -> dict[str, int]:
        """How many numbers the weights of each module that has some hold, by the module's name."""
        sizes: dict[str, int] = {}
        for weight in self.weights():
            sizes[weight.module] = sizes.get(weight.module, 0) + int(weight.array.size)
        return sizes

    @property
    def dtypes(self) -> list[str]:
        """The types of the weights."""
        return sorted({str(weight.array.dtype) for weight in self.weights()})

    @property
    def stored_bytes(self) -> int:
        """The size of the weights, in bytes."""
        return sum(weight.array.nbytes for weight in self.weights())

    def state(self) -> Iterator[tuple[str, Tensor]]:
        """Yield the bytes of the unquantized weights, by name and type."""
        for weight in self.weights() if self._handle is None else self._handle.originals:
            values = np.array(weight.array)
            flat = values.reshape(*values.shape, 1) if values.ndim == 0 else values
            yield (
                f"{weight.name} {values.dtype}",
                torch.from_numpy(flat.view(np.uint8).reshape(*flat.shape, -1)),
            )

    def effective_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """Yield the present weights by name, as float32."""
        for weight in self.weights():
            yield weight.name, torch.from_numpy(np.array(weight.array, np.float32))

    def inference(self) -> AbstractContextManager[Any]:
        """Return the block in which the policy computes at the present precision, on this thread."""
        return nullcontext() if self._handle is None else self._handle.rounding.active()

    def enter(self, precision: Precision, **_: Any) -> "JaxHandle":
        """Put the policy into a precision.

        Raises:
            UserError: the precision is a method or a function for torch modules; arrays of the policy are neither known
                as weights nor declared as constants; the scope matches nothing; or it is not known what shares a scale.
        """
        name = type(self._policy).__name__
        if precision.method is not None or precision.change is not None:
            raise UserError(
                f"{precision.dtype} is for torch models, and {name} computes in JAX: name a data type"
            )
        if strange := unnamed(self._policy, self._sources):
            raise UserError(
                f"{name} has JAX arrays in {', '.join(strange)}: say what they are by jax_weights = (...) or "
                "jax_constants = (...), names of attributes"
            )
        rounding = self._roundings.setdefault(precision, Rounding(precision, name))
        self._handle = JaxHandle(self._policy, self._sources, self.weights(), rounding, self._left)
        return self._handle

    def _left(self) -> None:
        self._handle = None


class JaxHandle:
    """A precision that a JAX policy is in; what ``restore`` brings back are the very arrays from before.

    Args:
        policy: the policy.
        sources: its attributes that hold weights.
        weights: the weights at float32.
        rounding: the precision.
        left: called when the model has left the precision.

    Attributes:
        originals: the weights at float32.
        hooked: the modules whose outputs are to be rounded, as far as they are known before they are called.

    Raises:
        UserError: as of ``JaxModel.enter``.
    """

    layers: dict[str, Any] = {}  # noqa: RUF012
    packed_bytes = unpacked_bytes = 0
    needs_modules = True

    def __init__(
        self,
        policy: Any,
        sources: list[Source],
        weights: list[Weight],
        rounding: Rounding,
        left: Callable[[], None],
    ) -> None:
        precision = rounding.precision
        self.precision, self.rounding, self.originals = precision, rounding, weights
        self._sources, self._left, self._active = sources, left, True
        self._undo: list[Callable[[], None]] = []
        scope = precision.scope
        chosen = [weight for weight in weights if scope.matches(weight.module)]
        self.num_elements = num_elements(chosen) if precision.weights else 0
        try:
            modules = self._install_names(precision.activations)
            self.hooked = (
                tuple(name for name in modules if scope.matches(name)) if precision.activations else ()
            )
            for needed, found, what in (
                (precision.weights, chosen, "floating-point weight"),
                (precision.activations, self.hooked, "module without children"),
            ):
                if needed and not found:
                    known = ", ".join(dict.fromkeys(weight.name.partition(".")[0] for weight in weights))
                    raise UserError(
                        f"scope '{scope}' matches no {what} of {type(policy).__name__}: widen it; names begin with "
                        f"{known}"
                    )
            if precision.weights:
                self._install_weights(policy, {id(one.array): one.rounded(precision.dtype) for one in chosen})
        except BaseException:
            self.restore()
            raise

    @property
    def fired(self) -> tuple[str, ...]:
        """Return the modules of which an output has been rounded so far."""
        return tuple(sorted(self.rounding.fired))

    @property
    def unfired(self) -> tuple[str, ...]:
        """Return the modules of which no output has been rounded so far."""
        return tuple(name for name in self.hooked if name not in self.rounding.fired)

    def restore(self) -> None:
        """Bring back every array and every function. A second call does nothing."""
        if not self._active:
            return
        self._active = False
        for undo in reversed(self._undo):
            undo()
        self._left()

    def _install_names(self, activations: bool) -> list[str]:
        """Name the modules, and return the names of those without children, as far as they are known."""
        names: list[str] = []
        for source in self._sources if activations else ():
            held = {weight.module for weight in source.weights()}
            if source.module is not None:
                before = nnx.split(source.module)[0]
                hooks = Hooks(source.module, source.prefix)
                self._undo.append(hooks.remove)
                self._rename(before, nnx.split(source.module)[0])
                names += hooks.names
                held = {name for name in held if hooks.bridges and f"{name}.".startswith(hooks.bridges)}
            # Linen makes modules when they are called: those that are known before have weights.
            names += sorted(
                name for name in held if not any(one.startswith(f"{name}.") for one in held if name)
            )
        return list(dict.fromkeys(names))

    def _rename(self, before: Any, now: Any) -> None:
        """Let functions that keep a module's structure know the names, too."""
        for cell in closures(self._sources[0]._owner):
            if isinstance(cell.cell_contents, nnx.GraphDef) and cell.cell_contents == before:
                self._swap(cell, now)

    def _install_weights(self, policy: Any, arrays: dict[int, jax.Array]) -> None:
        for source in self._sources:
            self._undo.append(source.replace(arrays))
        for cell in closures(policy):
            kept = cell.cell_contents
            if not isinstance(kept, nnx.Module) and holds_arrays(kept):
                self._swap(cell, replaced(kept, arrays))

    def _swap(self, cell: Any, value: Any) -> None:
        kept, cell.cell_contents = cell.cell_contents, value
        self._undo.append(lambda: setattr(cell, "cell_contents", kept))
