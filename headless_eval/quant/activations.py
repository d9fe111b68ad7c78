"""Activations: which outputs of a model a precision rounds, those of modules without children, and along which axes."""

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from headless_eval.quant.dtypes import per_channel


def activation_axis(module: nn.Module, output: Tensor, dtype: str) -> int | tuple[int, ...] | None:
    """Return the axes whose indices have scales of their own: the samples', or all but the features' (per token)."""
    if not per_channel(dtype):
        return 0 if output.ndim >= 2 else None
    features = output.ndim - 1
    if isinstance(module, nn.modules.conv._ConvNd):  # channels come before the image's dimensions
        features -= len(module.kernel_size)
    return tuple(axis for axis in range(output.ndim) if axis != features)


# Modules that use their children's weights without calling them: only their own output can be seen.
_CALLS_NO_CHILDREN = (nn.MultiheadAttention,)


def leaves_of(model: nn.Module) -> Iterator[tuple[list[str], nn.Module]]:
    """Yield every module that is called and has no children, once, with all its names."""
    names: dict[nn.Module, list[str]] = {}
    opaque: list[str] = []
    for name, module in model.named_modules(remove_duplicate=False):
        if any(name.startswith(prefix) for prefix in opaque):
            continue
        if isinstance(module, _CALLS_NO_CHILDREN):
            opaque.append(f"{name}." if name else "")
        elif next(module.children(), None) is not None:
            continue
        if type(module).forward is not nn.Module.forward:  # a ParameterList, say, is never called
            names.setdefault(module, []).append(name)
    for module, its_names in names.items():
        yield its_names, module


def map_tensors(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Return the module output with every floating-point tensor in it changed; other things pass through."""
    if isinstance(value, Tensor):
        return change(value) if value.is_floating_point() and value.numel() else value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [field.name for field in dataclasses.fields(value) if field.init]
        return dataclasses.replace(
            value, **{field: map_tensors(getattr(value, field), change) for field in fields}
        )
    if isinstance(value, Mapping):
        changed: Any = copy.copy(value)
        for key, item in value.items():
            changed[key] = map_tensors(item, change)
        return changed
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(map_tensors(item, change) for item in value))
    if isinstance(value, list | tuple):
        return type(value)(map_tensors(item, change) for item in value)
    return value
