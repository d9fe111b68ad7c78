"""Weights: which parameters of a model a precision rounds, and along which axis."""

from collections.abc import Collection

import torch
from torch import Tensor, nn

from headless_eval.quant.dtypes import per_channel
from headless_eval.quant.precision import Scope


def weight_axis(weight: Tensor, dtype: str) -> int | None:
    """Return the axis whose indices have scales of their own, the output channels; None: one scale for the weight."""
    return 0 if per_channel(dtype) and weight.ndim >= 2 else None


def weights_of(model: nn.Module, scope: Scope) -> list[nn.Parameter]:
    """Return the floating-point parameters in scope; parameters that share their memory are returned once."""
    found: dict[tuple, nn.Parameter] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if parameter.is_floating_point() and scope.matches(name.rpartition(".")[0]):
            memory = (parameter.data_ptr(), parameter.shape, parameter.stride(), parameter.dtype)
            found.setdefault(memory if parameter.numel() else (id(parameter),), parameter)
    return list(found.values())


def fits_beside(parameters: Collection[Tensor]) -> bool:
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
