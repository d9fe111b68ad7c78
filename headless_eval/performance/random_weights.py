"""Models with random weights, for measuring without a checkpoint."""

import torch
from torch import nn

from headless_eval.policies.paligemma.gemma import RMSNorm
from headless_eval.policies.pi0.config import PolicyConfig
from headless_eval.policies.pi0.model import Pi0


@torch.no_grad()
def random_model(config: PolicyConfig, device: torch.device, dtype: torch.dtype) -> Pi0:
    """Draw a model on its device, without a copy on the host; the same weights in every dtype, rounded.

    Norms and modulations are drawn too: with gates of zero, as training starts, every layer would be the
    identity, and no rounding would show.
    """
    with torch.device("meta"):
        model = Pi0(config.model)
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
