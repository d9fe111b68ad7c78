"""Models of policies as ``LocalPolicy`` sees them: torch modules, and JAX policies."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from headless_eval.errors import UserError
from headless_eval.quant.calibration import Calibration
from headless_eval.quant.handle import Handle, nbytes
from headless_eval.quant.precision import Precision
from headless_eval.quant.quantize import quantize_

_DEPTH = 4  # objects within objects in which a policy's model is looked for
_ENTRIES = 1000  # of containers; larger ones hold data


class ModelHandle(Protocol):
    """A precision that a model is in; ``quant.Handle`` is one."""

    @property
    def num_elements(self) -> int: ...  # noqa: D102
    @property
    def hooked(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def fired(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def unfired(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def layers(self) -> Mapping[str, Any]: ...  # noqa: D102
    @property
    def packed_bytes(self) -> int: ...  # noqa: D102

    def restore(self) -> None:
        """Bring back the model as it was, to the last bit."""
        ...


class Model(Protocol):
    """A policy's model: what is known of its weights, and how it enters a precision."""

    @property
    def libraries(self) -> tuple[str, ...]:
        """Distributions that it computes with."""
        ...

    @property
    def device(self) -> str:
        """The device of its weights."""
        ...

    @property
    def num_parameters(self) -> int:
        """How many numbers its weights hold."""
        ...

    @property
    def module_sizes(self) -> dict[str, int]:
        """How many numbers the weights of each module hold, without those of its children, by the module's name."""
        ...

    @property
    def dtypes(self) -> list[str]:
        """The types of its weights."""
        ...

    @property
    def stored_bytes(self) -> int:
        """The size of its weights in bytes, packed if the present precision packs them."""
        ...

    def state(self) -> Iterator[tuple[str, Tensor]]:
        """Yield its unquantized tensors, by name and type."""
        ...

    def effective_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """Yield its present weights by name, in the basis in which they were loaded."""
        ...

    def inference(self) -> AbstractContextManager[Any]:
        """Return the block in which a thread computes with it."""
        ...

    def enter(
        self, precision: Precision, *, calibration: Calibration | None = None, packdir: Path | None = None
    ) -> ModelHandle:
        """Put it into a precision; arguments and errors as of ``quantize_``."""
        ...


class TorchModel:
    """A torch module as a policy's model."""

    libraries = ("torch",)

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self._handle: Handle | None = None

    @property
    def device(self) -> str:
        """The device of its first parameter."""
        first = next(self.module.parameters(), None)
        return "cpu" if first is None else str(first.device)

    @property
    def num_parameters(self) -> int:
        """How many numbers its parameters hold."""
        return sum(parameter.numel() for parameter in self.module.parameters())

    @property
    def module_sizes(self) -> dict[str, int]:
        """How many numbers the parameters of each module hold, without those of its children, by the module's name."""
        return {
            name: sum(parameter.numel() for parameter in module.parameters(recurse=False))
            for name, module in self.module.named_modules()
        }

    @property
    def dtypes(self) -> list[str]:
        """The types of its parameters."""
        return sorted({str(one.dtype).removeprefix("torch.") for one in self.module.parameters()})

    @property
    def stored_bytes(self) -> int:
        """The size of its parameters in bytes, packed if the present precision packs them."""
        if self._current is not None:
            return self._current.stored_bytes(self.module)
        return sum(nbytes(parameter) for parameter in self.module.parameters())

    def state(self) -> Iterator[tuple[str, Tensor]]:
        """Yield the tensors of its ``state_dict``, unquantized, by name and type."""
        if self._current is not None:
            named: Any = self._current.state(self.module)
        else:
            named = self.module.state_dict(keep_vars=True).items()
        for name, tensor in named:
            if isinstance(tensor, Tensor):
                yield f"{name} {tensor.dtype}", tensor

    def effective_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """Yield its present parameters by name, as ``Handle.effective_parameters`` does."""
        if self._current is None:
            return self.module.named_parameters()
        return self._current.effective_parameters(self.module)

    def inference(self) -> AbstractContextManager[Any]:
        """Compute without gradients."""
        return torch.inference_mode()

    def enter(
        self, precision: Precision, *, calibration: Calibration | None = None, packdir: Path | None = None
    ) -> Handle:
        """Put it into a precision, as ``quantize_`` does."""
        self._handle = quantize_(self.module, precision, calibration=calibration, packdir=packdir)
        return self._handle

    @property
    def _current(self) -> Handle | None:
        return self._handle if self._handle is not None and self._handle.active else None


def find_model(policy: Any, module: nn.Module | None = None) -> Model | None:
    """Return a policy's model: its torch modules, or its weights in JAX; None for a policy without.

    Args:
        policy: the policy.
        module: its torch model; None: it is looked for among the policy's attributes.

    Raises:
        UserError: the policy has both.
    """
    module = module if module is not None else find_module(policy)
    other = None
    if "flax" in sys.modules:  # a policy that computes in JAX has imported it
        from headless_eval.quant.jax_models.model import find_jax_model

        other = find_jax_model(policy)
    if module is not None and other is not None:
        raise UserError(
            f"{type(policy).__name__} has torch modules and JAX arrays: a policy's model is in one of them; pass the "
            "arrays that are no weights as NumPy arrays"
        )
    return other if module is None else TorchModel(module)


def find_module(policy: Any) -> nn.Module | None:
    """Return the policy's torch model: all its modules together, so that a precision reaches all of them."""
    if isinstance(policy, nn.Module):
        return policy
    modules = dict(_modules_in(policy, _DEPTH, {id(policy)}))
    if len(modules) > 1:
        return nn.ModuleDict({name.replace(".", "_"): module for name, module in modules.items()})
    return next(iter(modules.values()), None)


def _modules_in(thing: Any, depth: int, seen: set[int]) -> Iterator[tuple[str, nn.Module]]:
    """Yield the modules among a thing's attributes or entries, and within them, each once, by dotted names.

    Args:
        thing: an object, or a dict, list or tuple of objects.
        depth: how many objects within objects are looked into. Of this package's policies only the attributes are: the
            engines within them keep copies of weights, which are no further models.
        seen: the ids of what was looked into.
    """
    if type(thing).__module__.startswith("headless_eval."):
        depth = 1
    if isinstance(thing, Mapping | list | tuple) and len(thing) > _ENTRIES:
        return
    if isinstance(thing, Mapping):
        inner = [(str(key), value) for key, value in thing.items()]
    elif isinstance(thing, list | tuple):
        inner = [(str(index), value) for index, value in enumerate(thing)]
    else:
        inner = list(getattr(thing, "__dict__", {}).items())
    fresh = [(name, value) for name, value in inner if id(value) not in seen]
    for name, value in fresh:
        if isinstance(value, nn.Module) and id(value) not in seen:
            seen.add(id(value))
            yield name, value
    for name, value in fresh:
        if (
            depth > 1
            and id(value) not in seen
            and not isinstance(value, type | ModuleType | nn.Module | Tensor)
        ):
            seen.add(id(value))
            for path, module in _modules_in(value, depth - 1, seen):
                yield f"{name}.{path}", module
