"""Weights of several linear layers in one memory, so that one matrix product computes them all."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def joined(layers: Sequence[nn.Linear]) -> Tensor:
    """Return the layers' weights as one (all outputs, in), of which they become views.

    So nothing is held twice, and what changes a weight in place changes the whole. On a GPU rows follow each
    other; on a CPU columns, see ``Pi0.lay_out_for_cpu``. A second call changes nothing.
    """
    weights = [layer.weight for layer in layers]
    first = weights[0].detach()
    outputs, inputs = sum(len(weight) for weight in weights), first.shape[1]
    strides = (1, outputs) if first.device.type == "cpu" else (inputs, 1)
    at = first.storage_offset()
    together = first.untyped_storage().nbytes() >= (at + outputs * inputs) * first.element_size()
    for weight in weights:
        together = together and weight.data_ptr() == first.data_ptr() + first.element_size() * (
            at - first.storage_offset()
        )
        together = together and weight.stride() == strides
        at += len(weight) * strides[0]
    if together:
        return first.as_strided((outputs, inputs), strides)
    whole = torch.empty_strided((outputs, inputs), strides, dtype=first.dtype, device=first.device)
    start = 0
    for weight in weights:
        part = whole[start : start + len(weight)]
        part.copy_(weight.detach())
        weight.data = part
        start += len(weight)
    return whole
