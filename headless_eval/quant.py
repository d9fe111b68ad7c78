"""Quantization by simulation: values are rounded to what a data type can hold, and computed with in float32.

How the data types round was read off the published floating-point benchmark's quantizer, bit for bit:

================  ======================================================================================
float16,          a cast there and back; float16 overflows to infinity
bfloat16
float8_e4m3       clamped to ±448, then cast (``torch.float8_e4m3fn``); no scale
float8_e5m2       clamped to ±57344, then cast (``torch.float8_e5m2``, the OCP type that hardware runs; the
                  benchmark's own is the FNUZ variant, which differs only below 2^-14); no scale
uint32            2^32 - 1 steps from the smallest value to the largest, in float32 arithmetic
int32             as uint32 with a zero point of the wrong sign, see ``_int32``
boolean           values above the (lower) median become the largest value, the others the smallest
int8, int4        symmetric: the largest magnitude becomes 127 or 7; half to even
================  ======================================================================================

Values that are all equal stay as they are under uint32, int32 and boolean. Where there is a scale, a NaN or an
infinity makes all that shares it NaN or infinite: what is broken shows, it is not rounded away.
"""

import copy
import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self
from weakref import WeakSet

import numpy as np
import torch
from torch import Tensor, nn

from headless_eval.errors import UserError
from headless_eval.precision import (
    BENCHMARK_DTYPES,
    DTYPES,
    EVERYTHING,
    MODES,
    Precision,
    Scope,
    configurations,
)
from headless_eval.suggest import unknown

__all__ = [
    "BENCHMARK_DTYPES",
    "DTYPES",
    "EVERYTHING",
    "MODES",
    "Handle",
    "Precision",
    "Scope",
    "configurations",
    "fake_quantize",
    "quantize_",
]

_E4M3, _E5M2 = 448.0, 57344.0  # the largest values


def _float8_e4m3(x: Tensor) -> Tensor:
    x = x.clamp(-_E4M3, _E4M3)
    if x.device.type != "cpu":
        return x.to(torch.float8_e4m3fn).to(torch.float32)
    # torch's cast takes one value after another on a CPU. The same in vector operations: adding 1.5 * 2^20 times
    # a value's power of two leaves room for three bits of its mantissa, rounded half to even; below 2^-6, the
    # smallest normal number, the steps get no finer.
    power = x.view(torch.int32).bitwise_and(0x7F800000).view(torch.float32)
    shift = power.clamp_(min=2.0**-6).mul_(1.5 * 2.0**20)
    return (x + shift).sub_(shift).copysign_(x)


_CASTS: dict[str, Callable[[Tensor], Tensor]] = {
    "float16": lambda x: x.to(torch.float16).to(torch.float32),
    "bfloat16": lambda x: x.to(torch.bfloat16).to(torch.float32),
    "float8_e4m3": _float8_e4m3,
    "float8_e5m2": lambda x: x.clamp(-_E5M2, _E5M2).to(torch.float8_e5m2).to(torch.float32),
}

# The following take (groups, values) and give each group, a row, its own scale. They run some hundred times an
# inference, mostly on a few thousand values: hence in place, and without torch.where, slow on a CPU, if possible.


def _uint32(rows: Tensor) -> Tensor:
    low, high = rows.amin(dim=1, keepdim=True), rows.amax(dim=1, keepdim=True)
    scale = (high - low).div_(2.0**32 - 1).clamp_(min=1e-38)  # equal values: 0 steps above low, exactly
    return (rows - low).div_(scale).round_().clamp_(0.0, 2.0**32 - 1).mul_(scale).add_(low)


def _int32(rows: Tensor) -> Tensor:
    # The benchmark subtracts the zero point where an affine quantizer adds it. So the range represented is
    # not [low, high] but [-high, -low]: values below it saturate at -high, and values above it overflow the
    # integer, whose bits then mean the smallest one, -high again. Tensors around zero lose little; those of
    # one sign collapse to a constant. The overflow is written out, so that every device does the same. Scale and
    # steps have the opposite sign of the benchmark's, for which torch has the operation.
    low, high = rows.amin(dim=1, keepdim=True), rows.amax(dim=1, keepdim=True)
    scale = (high - low).div_(-(2.0**32 - 1))
    zero_point = low / scale - 2.0**31
    steps = (rows / scale).round_().add_(zero_point).clamp_(max=2.0**31)
    steps = torch.threshold_(steps, -(2.0**31), 2.0**31)
    return torch.where(scale == 0, rows, steps.sub_(zero_point).mul_(scale))


def _boolean(rows: Tensor) -> Tensor:
    rows = rows.detach()
    low, high = rows.amin(dim=1, keepdim=True), rows.amax(dim=1, keepdim=True)
    above = torch.gt(rows, _lower_median(rows), out=torch.empty_like(rows))
    highs = above * high
    return above.sub_(1.0).mul_(-low).add_(highs)


def _lower_median(rows: Tensor) -> Tensor:
    middle = (rows.shape[1] - 1) // 2
    if rows.device.type == "cpu":
        # Six times faster than torch.median.
        values = np.partition(rows.numpy(), middle, axis=1)[:, middle : middle + 1]
        return torch.from_numpy(values)
    return rows.sort(dim=1).values[:, middle : middle + 1]


def _symmetric(rows: Tensor, largest: int) -> Tensor:
    scale = rows.abs().amax(dim=1, keepdim=True)
    # By a tensor: CUDA divides by a number as a product with its reciprocal, which rounds otherwise.
    scale = scale.div_(torch.full_like(scale, largest)).clamp_(min=1e-38)
    return (rows / scale).round_().mul_(scale)


_SCALED: dict[str, Callable[[Tensor], Tensor]] = {
    "uint32": _uint32,
    "int32": _int32,
    "boolean": _boolean,
    "int8": lambda rows: _symmetric(rows, 127),
    "int4": lambda rows: _symmetric(rows, 7),
}
_CHANNELWISE = ("int8", "int4")


def fake_quantize(tensor: Tensor, dtype: str, axis: int | tuple[int, ...] | None = None) -> Tensor:
    """Round a tensor to the values that ``dtype`` can hold.

    Nothing is read back to the host, so it runs on a GPU without synchronisation.

    Args:
        tensor: float32, any shape; left unchanged.
        dtype: one of ``DTYPES``.
        axis: the axes *kept*, that is not shared: every index along them has its own scale, which is taken
            over all other axes. ``None``: one scale for the whole tensor. ``0`` for the weight of a Linear
            layer, (out, in): one per output channel. ``(0, 1)`` for (batch, token, feature): one per token.
            The float types have no scale, so it makes no difference to them.

    Returns:
        float32 tensor of the same shape.

    Raises:
        UserError: dtype is not known.
        TypeError: the tensor is not float32.
    """
    if dtype not in DTYPES:
        raise unknown("dtype", dtype, DTYPES)
    if tensor.dtype != torch.float32:
        raise TypeError(f"fake_quantize takes float32, not {tensor.dtype}")
    if dtype == "float32" or tensor.numel() == 0:
        return tensor.clone()
    if dtype in _CASTS:
        return _CASTS[dtype](tensor)
    kept = () if axis is None else (axis,) if isinstance(axis, int) else axis
    front = tuple(range(len(kept)))
    moved = tensor if kept == front else tensor.movedim(kept, front)
    rows = moved.reshape(moved.shape[: len(kept)].numel(), -1)
    rounded = _SCALED[dtype](rows).reshape(moved.shape)
    return rounded if kept == front else rounded.movedim(front, kept)


def _quantized(tensor: Tensor, dtype: str, axis: int | tuple[int, ...] | None) -> Tensor:
    if tensor.dtype == torch.float32:
        return fake_quantize(tensor, dtype, axis)
    return fake_quantize(tensor.to(torch.float32), dtype, axis).to(tensor.dtype)


def _weight_axis(weight: Tensor, dtype: str) -> int | None:
    return 0 if dtype in _CHANNELWISE and weight.ndim >= 2 else None


def _activation_axis(module: nn.Module, output: Tensor, dtype: str) -> int | tuple[int, ...] | None:
    if dtype not in _CHANNELWISE:
        return 0 if output.ndim >= 2 else None
    features = output.ndim - 1
    if isinstance(module, nn.modules.conv._ConvNd):  # channels come before the image's dimensions
        features -= len(module.kernel_size)
    return tuple(axis for axis in range(output.ndim) if axis != features)


# Modules that use their children's weights without calling them: only their own output can be seen.
_CALLS_NO_CHILDREN = (nn.MultiheadAttention,)


def _leaves(model: nn.Module) -> Iterator[tuple[list[str], nn.Module]]:
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


def _weights(model: nn.Module, scope: Scope) -> list[nn.Parameter]:
    """Return the floating-point parameters in scope; those that are one memory under two names, once."""
    found: dict[tuple, nn.Parameter] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if parameter.is_floating_point() and scope.matches(name.rpartition(".")[0]):
            memory = (parameter.data_ptr(), parameter.shape, parameter.stride(), parameter.dtype)
            found.setdefault(memory if parameter.numel() else (id(parameter),), parameter)
    return list(found.values())


def _fits_beside(parameters: list[nn.Parameter]) -> bool:
    """Return whether a copy of the parameters fits on their devices, with room to quantize the largest."""
    needed: dict[torch.device, int] = {}
    for parameter in parameters:
        needed[parameter.device] = needed.get(parameter.device, 0) + parameter.nbytes
    workspace = 8 * max((parameter.nbytes for parameter in parameters), default=0)
    for device, size in needed.items():
        if device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(device)
            free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
            if size + workspace > free:
                return False
    return True


def _map_tensors(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Return the module output with every floating-point tensor in it changed; other things pass through."""
    if isinstance(value, Tensor):
        return change(value) if value.is_floating_point() and value.numel() else value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [field.name for field in dataclasses.fields(value) if field.init]
        return dataclasses.replace(
            value, **{field: _map_tensors(getattr(value, field), change) for field in fields}
        )
    if isinstance(value, Mapping):
        changed: Any = copy.copy(value)
        for key, item in value.items():
            changed[key] = _map_tensors(item, change)
        return changed
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_map_tensors(item, change) for item in value))
    if isinstance(value, list | tuple):
        return type(value)(_map_tensors(item, change) for item in value)
    return value


class Handle:
    """A precision that a model is in; what ``quantize_`` returns.

    As a context manager it restores the model on leaving.

    Attributes:
        precision: the precision.
        num_parameters: parameter tensors quantized, shared ones counted once.
        num_elements: the numbers in them.
        num_bytes: memory held by the copies that ``restore`` uses.
        hooked: names of the modules whose outputs are quantized.
        seconds: how long it took to enter.
    """

    def __init__(self, model: nn.Module, precision: Precision) -> None:
        self.precision = precision
        self.hooked: tuple[str, ...] = ()
        self.seconds = 0.0
        self._originals: list[tuple[nn.Parameter, Tensor]] = []
        self._hooks: list[torch.utils.hooks.RemovableHandle] = []
        self._fired: set[str] = set()
        self._modules = list(model.modules())
        self._active = True
        _quantized_modules.update(self._modules)

    @property
    def active(self) -> bool:
        """Return whether the model is in this precision still."""
        return self._active

    @property
    def num_parameters(self) -> int:
        """Return how many parameter tensors are quantized."""
        return len(self._originals)

    @property
    def num_elements(self) -> int:
        """Return how many numbers are in them."""
        return sum(original.numel() for _, original in self._originals)

    @property
    def num_bytes(self) -> int:
        """Return the size of the copies kept for restoring, in bytes."""
        return sum(original.nbytes for _, original in self._originals)

    @property
    def fired(self) -> tuple[str, ...]:
        """Return the hooked modules of which an output has been quantized so far."""
        return tuple(name for name in self.hooked if name in self._fired)

    @property
    def unfired(self) -> tuple[str, ...]:
        """Return the hooked modules of which no output has been quantized so far.

        After an inference these are modules that it did not call, or whose outputs hold no floating-point
        tensor that could be found.
        """
        return tuple(name for name in self.hooked if name not in self._fired)

    def original(self, tensor: Tensor) -> Tensor:
        """Return the unquantized values of one of the model's parameters; any other tensor as it is."""
        for parameter, kept in self._originals:
            if parameter is tensor or (
                parameter.data_ptr() == tensor.data_ptr()
                and parameter.shape == tensor.shape
                and parameter.stride() == tensor.stride()
            ):
                return kept
        return tensor

    def restore(self) -> None:
        """Bring back the exact bits of every weight and remove the hooks. A second call does nothing."""
        if not self._active:
            return
        for hook in self._hooks:
            hook.remove()
        with torch.inference_mode():
            for parameter, original in self._originals:
                parameter.copy_(original)
        _quantized_modules.difference_update(self._modules)
        self._hooks, self._originals, self._active = [], [], False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.restore()

    def _quantize_weights(self, parameters: list[nn.Parameter]) -> None:
        dtype = self.precision.dtype
        beside = _fits_beside(parameters)
        # Inference mode, so that it also works for weights that were loaded in it.
        with torch.inference_mode():
            for parameter in parameters:
                kept = parameter.detach().clone() if beside else parameter.detach().to("cpu", copy=True)
                self._originals.append((parameter, kept))
            # All copies before any change: parameters may be views of one another.
            for parameter, kept in self._originals:
                original = kept.to(parameter.device)
                parameter.copy_(_quantized(original, dtype, _weight_axis(parameter, dtype)))
        for device in {parameter.device for parameter in parameters if parameter.is_cuda}:
            torch.cuda.synchronize(device)

    def _hook_activations(self, leaves: list[tuple[str, nn.Module]]) -> None:
        self.hooked = tuple(name for name, _ in leaves)
        self._hooks = [module.register_forward_hook(self._output_hook(name)) for name, module in leaves]

    def _output_hook(self, name: str) -> Callable[[nn.Module, Any, Any], Any]:
        dtype, fired = self.precision.dtype, self._fired

        def quantize_output(module: nn.Module, _args: Any, output: Any) -> Any:
            # Called from several threads at once: adding to a set is the only thing shared.
            def change(tensor: Tensor) -> Tensor:
                fired.add(name)
                return _quantized(tensor, dtype, _activation_axis(module, tensor, dtype))

            return _map_tensors(output, change)

        return quantize_output


_quantized_modules: WeakSet[nn.Module] = WeakSet()


def quantize_(model: nn.Module, precision: Precision) -> Handle:
    """Put a model into a precision, in place.

    *Weights* are all floating-point parameters in scope, biases and norms included, as in the published
    benchmark; a parameter belongs to the module that holds it, and one under several names is in scope if one
    of them is. Buffers stay. Each is quantized as a whole, except that int8 and int4 give every index of the
    first axis (the output channel) its own scale where there are two axes or more.

    *Activations* are the outputs of all leaf modules in scope: those without children. Tensors are found in
    tuples, lists, mappings and dataclasses; integers pass through. Each index of the first axis, a sample of
    the batch, has its own scale, so that a result does not depend on what else is in the batch; an output
    with one axis is quantized as a whole. int8 and int4 give every token its own: the last axis is reduced
    (for convolutions the channels).

    Tensors that are not float32 are quantized in float32 and cast back.

    Args:
        model: any module, on any device.
        precision: what to put it into; float32 changes nothing.

    Returns:
        The handle that restores the model.

    Raises:
        UserError: nothing in the model matches the scope.
        RuntimeError: the model, or a part of it, is in a precision already.
    """
    if any(module in _quantized_modules for module in model.modules()):
        raise RuntimeError("the model is in a precision already: call restore() on its handle first")
    begin = time.perf_counter()
    scope = precision.scope
    parameters = _weights(model, scope) if precision.weights else []
    leaves = []
    if precision.activations:
        for names, module in _leaves(model):
            matching = [name for name in names if scope.matches(name)]
            leaves += [(matching[0], module)] if matching else []
    for needed, found, what in (
        (precision.weights, parameters, "floating-point parameter"),
        (precision.activations, leaves, "module without children"),
    ):
        if needed and not found:
            raise UserError(
                f"scope '{scope}' matches no {what} of the {type(model).__name__}: "
                "widen it, or list the names with named_modules()"
            )
    handle = Handle(model, precision)
    try:
        handle._quantize_weights(parameters)
        handle._hook_activations(leaves)
    except BaseException:
        handle.restore()
        raise
    handle.seconds = time.perf_counter() - begin
    return handle
