"""Handle: a model in a precision, and the way back to its float32 bits."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn

from headless_eval.quant.activations import activation_axis, map_tensors
from headless_eval.quant.casts import quantized
from headless_eval.quant.linears import LinearInScope, QuantizedLinear
from headless_eval.quant.precision import Precision
from headless_eval.quant.weights import fits_beside, weight_axis

MARK = "_in_a_precision"
"""An attribute of every module of a model in a precision."""


def is_quantized(model: nn.Module) -> bool:
    """Return whether the model or a part of it is in a precision."""
    return any(hasattr(module, MARK) for module in model.modules())


def holds_precision(model: nn.Module) -> bool:
    """Return whether the model, or a larger one that it is a part of, is in a precision; a single look-up."""
    return hasattr(model, MARK)


def nbytes(tensor: Tensor) -> int:
    """Return the bytes that a tensor holds; of a tensor made of others, such as a quantized one, those of its parts."""
    if type(tensor) in (Tensor, nn.Parameter) or not hasattr(tensor, "__tensor_flatten__"):
        return tensor.nbytes
    parts, _ = tensor.__tensor_flatten__()
    return sum(nbytes(getattr(tensor, part)) for part in parts)


class Handle:
    """A precision that a model is in; what ``quantize_`` returns.

    As a context manager it restores the model on leaving.

    Attributes:
        precision: the precision.
        num_parameters: parameter tensors quantized, shared ones counted once.
        num_elements: how many numbers these tensors hold.
        num_bytes: memory held by the copies that ``restore`` uses.
        hooked: names of the modules whose outputs are quantized; under a method, whose inputs are.
        layers: under a method, the quantized linear layers by name.
        unpacked_bytes: size of the weights that a method packed, as the model holds them.
        linears_with_hooks: under a method, names of the linear layers whose inputs or outputs hooks change. Their
            weights alone do not say what they compute, so an engine that only reads weights cannot run them.
        seconds: how long the model took to enter the precision.
    """

    def __init__(self, model: nn.Module, precision: Precision) -> None:
        self.precision = precision
        self.hooked: tuple[str, ...] = ()
        self.layers: Mapping[str, QuantizedLinear] = {}
        self.unpacked_bytes = 0
        self.linears_with_hooks: tuple[str, ...] = ()
        self.seconds = 0.0
        self._originals: list[tuple[nn.Parameter, Tensor]] = []
        self._hooks: list[torch.utils.hooks.RemovableHandle] = []
        self._fired: set[str] = set()
        self._modules = list(model.modules())
        self._active = True
        for module in self._modules:
            setattr(module, MARK, True)

    @property
    def active(self) -> bool:
        """Return whether the model is still in this precision."""
        return self._active

    @property
    def num_parameters(self) -> int:
        """Return how many parameter tensors are quantized."""
        return len(self._originals)

    @property
    def num_elements(self) -> int:
        """Return how many numbers the quantized parameter tensors hold."""
        return sum(original.numel() for _, original in self._originals)

    @property
    def num_bytes(self) -> int:
        """Return the size of the copies kept for restoring, in bytes."""
        return sum(original.nbytes for _, original in self._originals)

    @property
    def packed_bytes(self) -> int:
        """Return the size of a method's layers in bytes when packed: integers, scales and the tensors of the basis."""
        return sum(layer.nbytes for layer in self.layers.values())

    @property
    def fired(self) -> tuple[str, ...]:
        """Return the hooked modules of which an output has been quantized so far."""
        return tuple(name for name in self.hooked if name in self._fired)

    def note(self, names: Iterable[str]) -> None:
        """Count these modules as fired: an engine that does not call the hooks has quantized their outputs."""
        self._fired.update(names)

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

    @property
    def needs_modules(self) -> bool:
        """Return whether only the model's modules compute what it computes, and not its weights alone."""
        return bool(self.linears_with_hooks)

    def state(self, model: nn.Module) -> Iterator[tuple[str, Tensor]]:
        """Yield the unquantized tensors of the model's ``state_dict`` by name."""
        for name, tensor in model.state_dict(keep_vars=True).items():
            if isinstance(tensor, Tensor):
                yield name, self.original(tensor)

    def effective_parameters(self, model: nn.Module) -> Iterator[tuple[str, Tensor]]:
        """Yield the model's present parameters by name, in the basis in which they were loaded.

        Methods keep weights in another basis; here the difference from the unquantized weights is the rounding error.
        """
        for name, parameter in model.named_parameters():
            layer = self.layers.get(name.rpartition(".")[0])
            if layer is None:
                yield name, parameter
                continue
            original = self.original(parameter).to(parameter.device)
            changed = layer.effective_weight(original.float()) if name.endswith(".weight") else original
            yield name, changed.to(parameter.dtype)

    def stored_bytes(self, model: nn.Module) -> int:
        """Return the size in bytes of the model's stored parameters, packed if the method packs them."""
        return sum(nbytes(parameter) for parameter in model.parameters()) + (
            self.packed_bytes - self.unpacked_bytes
        )

    def restore(self) -> None:
        """Bring back the exact bits of every weight and remove the hooks. A second call does nothing."""
        if not self._active:
            return
        for hook in self._hooks:
            hook.remove()
        with torch.inference_mode():
            for parameter, original in self._originals:
                parameter.copy_(original)
        for module in self._modules:
            delattr(module, MARK)
        self._hooks, self._originals, self._active = [], [], False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.restore()

    def _quantize_weights(self, parameters: list[nn.Parameter]) -> None:
        dtype = self.precision.dtype
        # Inference mode, so that it also works for weights that were loaded in it.
        with torch.inference_mode():
            self._keep(parameters)
            for parameter, kept in self._originals:
                original = kept.to(parameter.device)
                parameter.copy_(quantized(original, dtype, weight_axis(parameter, dtype)))
        _wait_for(parameters)

    def _keep(self, parameters: list[nn.Parameter]) -> None:
        """Copy all parameters before any is changed: they may be views of one another."""
        beside = fits_beside(parameters)
        for parameter in parameters:
            kept = parameter.detach().clone() if beside else parameter.detach().to("cpu", copy=True)
            self._originals.append((parameter, kept))

    def _install(self, linears: list[LinearInScope], layers: Mapping[str, QuantizedLinear]) -> None:
        """Give linear layers the weights and hooks of their quantized forms."""
        self.layers = layers
        packed = [linear.module.weight for linear in linears if layers[linear.name].packed is not None]
        self.unpacked_bytes = sum(weight.nbytes for weight in packed)
        parameters: list[Any] = [linear.module.weight for linear in linears]
        parameters += [
            linear.module.bias
            for linear in linears
            if linear.module.bias is not None and layers[linear.name].output is not None
        ]
        with torch.inference_mode():
            self._keep(parameters)
            for linear in linears:
                module, layer = linear.module, layers[linear.name]
                module.weight.copy_(layer.weight_for(module.weight.float()))
                if module.bias is not None and layer.output is not None:
                    module.bias.copy_(layer.output.of_bias(module.bias.float()))
        for linear in linears:
            self._hook_linear(linear, layers[linear.name])
        _wait_for(parameters)

    def _hook_linear(self, linear: LinearInScope, layer: QuantizedLinear) -> None:
        name, inputs, output, fired = linear.name, layer.inputs, layer.output, self._fired

        def change_input(_module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
            fired.add(name)
            return (inputs(args[0]), *args[1:])

        def change_output(_module: nn.Module, _args: Any, y: Tensor) -> Tensor | None:
            return None if output is None else output(y)

        if inputs.changes:
            self._hooks.append(linear.module.register_forward_pre_hook(change_input))
            self.hooked += (name,)
        if output is not None:
            self._hooks.append(linear.module.register_forward_hook(change_output, prepend=True))
        if inputs.changes or output is not None:
            self.linears_with_hooks += (name,)

    def _hook_activations(self, leaves: list[tuple[str, nn.Module]]) -> None:
        self.hooked = tuple(name for name, _ in leaves)
        self._hooks = [module.register_forward_hook(self._output_hook(name)) for name, module in leaves]

    def _output_hook(self, name: str) -> Callable[[nn.Module, Any, Any], Any]:
        dtype, fired = self.precision.dtype, self._fired

        def quantize_output(module: nn.Module, _args: Any, output: Any) -> Any:
            # Called from several threads at once: adding to a set is the only thing shared.
            def change(tensor: Tensor) -> Tensor:
                fired.add(name)
                return quantized(tensor, dtype, activation_axis(module, tensor, dtype))

            return map_tensors(output, change)

        return quantize_output


def _wait_for(parameters: list[nn.Parameter]) -> None:
    for device in {parameter.device for parameter in parameters if parameter.is_cuda}:
        torch.cuda.synchronize(device)
