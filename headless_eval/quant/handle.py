"""A model in a precision, and the way back."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self
from weakref import WeakSet

import torch
from torch import Tensor, nn

from headless_eval.quant.activations import activation_axis, map_tensors
from headless_eval.quant.casts import quantized
from headless_eval.quant.linears import Place, QuantizedLinear
from headless_eval.quant.precision import Precision
from headless_eval.quant.weights import fits_beside, weight_axis

_in_a_precision: WeakSet[nn.Module] = WeakSet()


def is_quantized(model: nn.Module) -> bool:
    """Return whether the model, or a part of it, is in a precision."""
    return any(module in _in_a_precision for module in model.modules())


def holds_precision(model: nn.Module) -> bool:
    """Return whether the model as a whole was put into a precision; unlike ``is_quantized``, in no time."""
    return model in _in_a_precision


class Handle:
    """A precision that a model is in; what ``quantize_`` returns.

    As a context manager it restores the model on leaving.

    Attributes:
        precision: the precision.
        num_parameters: parameter tensors quantized, shared ones counted once.
        num_elements: the numbers in them.
        num_bytes: memory held by the copies that ``restore`` uses.
        hooked: names of the modules whose outputs are quantized; under a method, whose inputs are.
        layers: under a method, what became of each linear layer, by its name.
        unpacked_bytes: size of the weights that ``packed_bytes`` is instead of, as the model holds them.
        modules_wrapped: names of the modules that compute otherwise than their weights say, because a method
            changes their inputs or outputs by hooks: an engine that reads weights cannot run them.
        seconds: how long it took to enter.
    """

    def __init__(self, model: nn.Module, precision: Precision) -> None:
        self.precision = precision
        self.hooked: tuple[str, ...] = ()
        self.layers: Mapping[str, QuantizedLinear] = {}
        self.unpacked_bytes = 0
        self.modules_wrapped: tuple[str, ...] = ()
        self.seconds = 0.0
        self._originals: list[tuple[nn.Parameter, Tensor]] = []
        self._hooks: list[torch.utils.hooks.RemovableHandle] = []
        self._fired: set[str] = set()
        self._modules = list(model.modules())
        self._active = True
        _in_a_precision.update(self._modules)

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
    def packed_bytes(self) -> int:
        """Return the size of a method's layers when packed: integers, scales and what changes the basis."""
        return sum(layer.nbytes for layer in self.layers.values())

    @property
    def fired(self) -> tuple[str, ...]:
        """Return the hooked modules of which an output has been quantized so far."""
        return tuple(name for name in self.hooked if name in self._fired)

    def note(self, names: Iterable[str]) -> None:
        """Take it that outputs of these modules have been quantized, by an engine that does not call the hooks."""
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

    def restore(self) -> None:
        """Bring back the exact bits of every weight and remove the hooks. A second call does nothing."""
        if not self._active:
            return
        for hook in self._hooks:
            hook.remove()
        with torch.inference_mode():
            for parameter, original in self._originals:
                parameter.copy_(original)
        _in_a_precision.difference_update(self._modules)
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

    def _install(self, places: list[Place], layers: Mapping[str, QuantizedLinear]) -> None:
        """Give linear layers the weights and hooks that a method makes of them."""
        self.layers = layers
        packed = [place.module.weight for place in places if layers[place.name].packed is not None]
        self.unpacked_bytes = sum(weight.nbytes for weight in packed)
        parameters: list[Any] = [place.module.weight for place in places]
        parameters += [
            place.module.bias
            for place in places
            if place.module.bias is not None and layers[place.name].output is not None
        ]
        with torch.inference_mode():
            self._keep(parameters)
            for place in places:
                module, layer = place.module, layers[place.name]
                module.weight.copy_(layer.weight_for(module.weight.float()))
                if module.bias is not None and layer.output is not None:
                    module.bias.copy_(layer.output.of_bias(module.bias.float()))
        for place in places:
            self._hook_linear(place, layers[place.name])
        _wait_for(parameters)

    def _hook_linear(self, place: Place, layer: QuantizedLinear) -> None:
        name, inputs, output, fired = place.name, layer.inputs, layer.output, self._fired

        def change_input(_module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
            fired.add(name)
            return (inputs(args[0]), *args[1:])

        def change_output(_module: nn.Module, _args: Any, y: Tensor) -> Tensor | None:
            return None if output is None else output(y)

        if inputs.changes:
            self._hooks.append(place.module.register_forward_pre_hook(change_input))
            self.hooked += (name,)
        if output is not None:
            self._hooks.append(place.module.register_forward_hook(change_output, prepend=True))
        if inputs.changes or output is not None:
            self.modules_wrapped += (name,)

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
