"""Snapshot of a torch model: its tensors, modules and attributes, which ``restore`` brings back bit for bit."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from headless_eval.quant.weights import fits_beside

_CONTAINERS = (dict, list, set)


@dataclass
class _Kept:
    """A tensor, its memory, and a copy of its values; the copy is dropped where nothing can change the values."""

    tensor: Tensor
    memory: Tensor
    copy: Tensor | None
    requires_grad: bool

    def same_values(self, now: Tensor | None) -> bool:
        """Return whether a tensor is of this tensor's kind, type and shape, and has the bits of the copy."""
        if now is None or type(now.data) is not type(self.memory) or self.copy is None:
            return False
        same_form = (now.shape, now.dtype) == (self.copy.shape, self.copy.dtype)
        return same_form and _same_bits(now.detach(), self.copy)

    def unchanged(self) -> bool:
        """Return whether the tensor still has the memory and the bits of the copy."""
        if self.copy is None:
            return True
        now = self.tensor
        same_memory = type(now.data) is type(self.memory) and _layout(now) == _layout(self.memory)
        return same_memory and _same_bits(self.memory, self.copy)


class Snapshot:
    """The present state of a model, of which any code may then change anything in place.

    What is kept: the values of all tensors that modules hold, and which parameters, buffers, children, hooks and other
    attributes each module has, and its class. Attributes that are containers are kept with what they hold; containers
    inside these are not.

    Args:
        model: any module.
    """

    def __init__(self, model: nn.Module) -> None:
        self._named = list(model.named_parameters(remove_duplicate=False))
        self._state = [
            (name, tensor)
            for name, tensor in model.state_dict(keep_vars=True).items()
            if isinstance(tensor, Tensor)
        ]
        self._modules = [
            (module, type(module), [(name, value, _contents(value)) for name, value in vars(module).items()])
            for module in model.modules()
        ]
        tensors = {id(tensor): tensor for tensor in self._tensors_of_modules()}
        beside = fits_beside(tensors.values())
        self._kept = {
            key: _Kept(tensor, tensor.detach(), _copy(tensor, beside), tensor.requires_grad)
            for key, tensor in tensors.items()
        }

    @property
    def num_bytes(self) -> int:
        """Return the size of the copies, in bytes."""
        return sum(kept.copy.nbytes for kept in self._kept.values() if kept.copy is not None)

    def state(self) -> Iterator[tuple[str, Tensor]]:
        """Yield the tensors of the model's ``state_dict`` by name, as they were."""
        for name, tensor in self._state:
            kept = self._kept.get(id(tensor))
            yield name, tensor if kept is None else kept.memory if kept.copy is None else kept.copy

    def changed(self, model: nn.Module) -> list[tuple[str, Tensor]]:
        """Return the parameters that are gone or have other values by now, by name, as they were."""
        now = dict(model.named_parameters(remove_duplicate=False))
        return [
            (name, parameter)
            for name, parameter in self._named
            if not self._kept[id(parameter)].same_values(now.get(name))
        ]

    def differs(self, ignoring: str) -> bool:
        """Return whether a module has another class or other attributes, children or hooks by now.

        Args:
            ignoring: the name of an attribute that does not count.
        """
        for module, kind, attributes in self._modules:
            now = {name: value for name, value in vars(module).items() if name != ignoring}
            then = {name: value for name, value, _ in attributes}
            if type(module) is not kind or now.keys() != then.keys():
                return True
            for name, value, contents in attributes:
                if now[name] is not value or (contents is not None and not _same_items(value, contents)):
                    return True
        return False

    def forget_unreachable(self, model: nn.Module) -> None:
        """Drop copies of unchanged parameters that the model does not hold any more: nothing can change these."""
        held = {id(parameter) for parameter in model.parameters()}
        for key, kept in self._kept.items():
            if isinstance(kept.tensor, nn.Parameter) and key not in held and kept.unchanged():
                kept.copy = None

    def restore(self) -> None:
        """Bring everything back as it was."""
        for module, kind, attributes in self._modules:
            if type(module) is not kind:
                module.__class__ = kind
            vars(module).clear()
            for name, value, contents in attributes:
                _refill(value, contents)
                vars(module)[name] = value
        for kept in self._kept.values():
            if kept.copy is None or kept.unchanged():
                continue
            tensor = kept.tensor
            if _layout(tensor) != _layout(kept.memory):
                tensor.data = kept.memory
            with torch.inference_mode():
                kept.memory.copy_(kept.copy)
        for kept in self._kept.values():
            if kept.tensor.requires_grad != kept.requires_grad:
                kept.tensor.requires_grad_(kept.requires_grad)

    def _tensors_of_modules(self) -> Iterator[Tensor]:
        for _, _, attributes in self._modules:
            for _, value, contents in attributes:
                if isinstance(value, Tensor):
                    yield value
                elif isinstance(value, _CONTAINERS):
                    items = contents.values() if isinstance(contents, dict) else contents
                    yield from (item for item in items if isinstance(item, Tensor))


def _contents(value: Any) -> Any:
    return value.copy() if isinstance(value, _CONTAINERS) else None


def _refill(value: Any, contents: Any) -> None:
    """Give a container what it held."""
    if isinstance(value, list):
        value[:] = contents
    elif isinstance(value, dict | set):
        value.clear()
        value.update(contents)


def _same_items(left: Any, right: Any) -> bool:
    """Return whether two containers hold the same objects."""
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(left[key] is right[key] for key in left)
    if isinstance(left, set):
        return bool(left == right)
    return len(left) == len(right) and all(one is other for one, other in zip(left, right, strict=True))


def _copy(tensor: Tensor, beside: bool) -> Tensor:
    return tensor.detach().clone() if beside else tensor.detach().to("cpu", copy=True)


def _layout(tensor: Tensor) -> tuple[Any, ...]:
    return tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype, tensor.device


def _same_bits(left: Tensor, right: Tensor) -> bool:
    """Return whether two tensors of one layout have the same bits; unlike ``==``, also for NaN and zeros."""
    if not left.numel():
        return True
    integers = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}.get(left.element_size())
    if integers is None or left.is_quantized or left.layout != torch.strided:
        return torch.equal(left, right.to(left.device))
    return torch.equal(left.contiguous().view(integers), right.to(left.device).contiguous().view(integers))
