"""What samples the actions of a model: itself, or on a GPU functions compiled from it."""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from headless_eval.contracts.policy import Engine
from headless_eval.errors import UserError
from headless_eval.policies.open_pi_zero.model import OpenPiZero, drop_unused
from headless_eval.policies.paligemma.batch import BatchEngine, EagerEngine
from headless_eval.quant import Handle

ENGINES = ("auto", "eager", "compiled")
_COMPILATIONS = 256


class CompiledEngine(BatchEngine):
    """Compiles the prefix and a flow step with torch.compile, for a GPU and a model whose outputs no hook sees.

    Every batch size and prompt length is compiled once, which takes up to a minute.
    """

    name = "compiled"

    def __init__(self, model: OpenPiZero):
        self._model = model
        # Kernels of fixed shapes: rows of one batch size are computed alike, whatever other sizes come.
        self._prefix: Any = torch.compile(model.prefix, dynamic=False, fullgraph=True)
        self._velocity: Any = torch.compile(model.velocity, dynamic=False, fullgraph=True)

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
        model, steps = self._model, num_steps or self._model.config.num_steps
        tokens, token_mask = drop_unused(tokens, token_mask)
        given = (part.to(model.device) for part in (images[0], tokens, token_mask, state))
        # Every batch size, prompt length and precision is a compilation of its own; torch gives up after eight.
        with torch._dynamo.config.patch(recompile_limit=_COMPILATIONS):
            prefix = self._prefix(*given)
            x_t = model.flow(prefix, noise.to(model.device, torch.float32), steps, self._velocity)
        clip = model.config.final_clip
        return x_t.clamp(-clip, clip)

    def close(self) -> None:
        """Forget what was compiled."""
        self._prefix = self._velocity = None


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
        UserError: the engine or execution does not exist, or does not support this precision and device.
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
    elif find_spec("triton") is None:
        why = "on a GPU it needs triton"
    elif handle is not None and (handle.hooked or handle.layers or handle.needs_modules):
        why = "it computes neither quantized activations nor methods"
    if name == "compiled" and why is not None:
        raise UserError(f"the engine 'compiled' cannot be used here: {why}; leave --engine at auto")
    return EagerEngine(model) if name == "eager" or why is not None else CompiledEngine(model)
