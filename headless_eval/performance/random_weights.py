"""Models with random weights, for measuring without a checkpoint."""

from typing import TypeVar

import torch
from torch import nn

from headless_eval.policies.paligemma.gemma import RMSNorm

M = TypeVar("M", bound=nn.Module)


@torch.no_grad()
def draw_weights(model: M, device: torch.device, dtype: torch.dtype) -> M:
    """Draw the weights of a model on the meta device, directly on their device; every dtype rounds the same numbers.

    Norms and modulations are random too: with gates of zero, as at the start of training, every layer would be the
    identity, and rounding would have no effect.
    """
    model = model.to(dtype).to_empty(device=device)
    generator = torch.Generator(device)
    for index, (name, parameter) in enumerate(model.named_parameters()):
        generator.manual_seed(index)
        module = model.get_submodule(name.rpartition(".")[0])
        mean, deviation = _distribution(module, name.rpartition(".")[2], parameter)
        drawn = torch.empty(parameter.shape, dtype=torch.float32, device=device)
        parameter.copy_(drawn.normal_(mean, deviation, generator=generator))
    return model.eval()


def _distribution(module: nn.Module, name: str, parameter: torch.Tensor) -> tuple[float, float]:
    if name == "bias" or isinstance(module, RMSNorm):
        return 0.0, 0.02
    if isinstance(module, nn.LayerNorm):
        return 1.0, 0.02
    fan_in = parameter.shape[1] if isinstance(module, nn.Embedding) else parameter[0].numel()
    return 0.0, fan_in**-0.5
