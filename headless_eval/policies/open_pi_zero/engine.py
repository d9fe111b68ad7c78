"""What samples the actions of a model: itself, or on a GPU functions compiled from it."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from headless_eval.contracts.policy import Engine
from headless_eval.errors import UserError
from headless_eval.policies.open_pi_zero.model import OpenPiZero, drop_unused
from headless_eval.policies.paligemma.batch import BatchEngine
from headless_eval.quant import Handle

ENGINES = ("auto", "eager", "compiled")


class EagerEngine(BatchEngine):
    """Calls the model's modules one after another; hooks on them see every output."""

    name = "eager"

    def __init__(self, model: OpenPiZero):
        self.sample_actions = model.sample_actions

    def close(self) -> None:
        """Do nothing: it keeps nothing."""


class CompiledEngine(BatchEngine):
    """Compiles the prefix and the flow with torch.compile, for a GPU and a model whose outputs no hook sees.

    Every batch size and prompt length is compiled once, which takes up to a minute.
    """

    name = "compiled"

    def __init__(self, model: OpenPiZero):
        self._model = model
        # Kernels of fixed shapes: rows of one batch size are computed alike, whatever other sizes come.
        self._actions: Any = torch.compile(self._compute, dynamic=False)

    def _compute(
        self, image: Tensor, tokens: Tensor, mask: Tensor, state: Tensor, x_t: Tensor, steps: int
    ) -> Tensor:
        return self._model.flow(self._model.prefix(image, tokens, mask, state), x_t, steps)

    @torch.inference_mode()
    def sample_actions(
        self,
        images: Sequence[Tensor],
        image_masks: Sequence[Tensor],
        tokens: Tensor,
        token_mask: Tensor,
        state: Tensor,
        noise: Tensor,
        num_steps: int | None = None,
    ) -> Tensor:
        """Do as ``OpenPiZero.sample_actions`` does."""
        model, device = self._model, self._model.device
        tokens, token_mask = drop_unused(tokens, token_mask)
        moved = (part.to(device) for part in (images[0], tokens, token_mask, state, noise.float()))
        clip = model.config.final_clip
        return self._actions(*moved, num_steps or model.config.num_steps).clamp(-clip, clip)

    def close(self) -> None:
        """Forget what was compiled."""
        self._actions = None


def make_engine(
    name: str,
    model: OpenPiZero,
    execution: str = "simulated",
    handle: Handle | None = None,
) -> Engine:
    """Return an engine for a model as it is now.

    Args:
        name: one of ``ENGINES``; ``auto`` is compiled on a GPU, where it computes the precision.
        model: on its device, in its precision already.
        execution: ``simulated``.
        handle: what ``quantize_`` returned.

    Raises:
        UserError: there is no such engine or execution, or not for this precision and device.
    """
    if execution != "simulated":
        raise UserError(f"no {execution} execution of this family of policies: use --execution simulated")
    if name not in ENGINES:
        raise UserError(
            f"the engine {name!r} does not compute this family of policies; leave --engine at auto"
        )
    why = None
    if model.device.type != "cuda":
        why = "it needs a CUDA GPU"
    elif handle is not None and (handle.hooked or handle.layers):
        why = "it computes neither quantized activations nor methods"
    if name == "compiled" and why is not None:
        raise UserError(f"the engine 'compiled' cannot be used here: {why}; leave --engine at auto")
    return EagerEngine(model) if name == "eager" or why is not None else CompiledEngine(model)
