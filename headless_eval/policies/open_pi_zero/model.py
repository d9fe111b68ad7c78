"""open-pi-zero's model: π0's parts with another flow, other positions, capped attention and a state token of its own.

It follows allenzren/open-pi-zero (c3df7fb). Where it differs from openpi's π0: the suffix is scaled by the square root
of its width like the language model's tokens; attention logits are capped; the state's token lies at position 1 and
the actions' from 2 on, whatever the prompt's length; flow time runs from 0 (noise) to 1 (actions).
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from headless_eval.policies.open_pi_zero.config import OpenPiZeroConfig
from headless_eval.policies.paligemma.gemma import (
    ActionExpert,
    KeysValues,
    LanguageModel,
    Rotation,
    attention_mask,
    rotation,
)
from headless_eval.policies.paligemma.siglip import Siglip
from headless_eval.policies.paligemma.tokenizer import slots_for

_LEAST_NOISE = 1e-3  # of the noise, what is left of it at flow time 1


class Prefix(NamedTuple):
    """Key-value cache of image, prompt and state: keys and values of every layer, and the mask of valid tokens."""

    layers: list[KeysValues]
    mask: Tensor

    def repeat(self, times: int) -> "Prefix":
        """Return every sample ``times`` times, with its copies next to each other."""
        if times == 1:
            return self
        layers = [
            KeysValues(k.repeat_interleave(times, dim=0), v.repeat_interleave(times, dim=0))
            for k, v in self.layers
        ]
        return Prefix(layers, self.mask.repeat_interleave(times, dim=0))


class SuffixContext(NamedTuple):
    """Tensors shared by all flow steps: the actions' rotary tables and their mask."""

    by: Rotation
    mask: Tensor


def time_embedding(time: Tensor, width: int, longest_period: float) -> Tensor:
    """Map flow times (N,) to sines, then cosines (N, width), in float32; frequencies from 1 to 1 / the period."""
    steps = torch.linspace(0, 1, width // 2, dtype=torch.float64, device=time.device)
    phase = time[:, None].double() * longest_period**-steps
    return torch.cat([phase.sin(), phase.cos()], dim=-1).float()


def sample_time(
    batch: int,
    sampler: str = "beta",
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Draw flow times (batch,) in [0, 1) for training; 0 is pure noise.

    ``"beta"`` is 0.999 (1 - z) of z drawn from Beta(1.5, 1), which favours noise; ``"uniform"`` is one random offset
    and even steps from it, so that every batch covers all times.

    Raises:
        ValueError: the sampler has another name.
    """
    if sampler == "uniform":
        offset = torch.rand(1, generator=generator, device=device)
        return (offset + torch.arange(batch, device=device) / batch) % (1 - 1e-5)
    if sampler != "beta":
        raise ValueError(f"the time sampler is 'beta' or 'uniform', not {sampler!r}")
    # What torch.distributions.Beta draws with, which takes no generator.
    shape = torch.tensor([1.5, 1.0], device=device).expand(batch, 2).contiguous()
    z = torch._sample_dirichlet(shape, generator=generator)[:, 0]
    return (1 - _LEAST_NOISE) * (1 - z)


def flow_times(steps: int, device: torch.device) -> Tensor:
    """Return the flow times of Euler steps from 0, summed in float32 as the reference does."""
    change = torch.tensor(1.0 / steps, dtype=torch.float32)
    now = torch.zeros((), dtype=torch.float32)
    times = []
    for _ in range(steps):
        times.append(now)
        now = now + change
    return torch.stack(times).to(device)


class OpenPiZero(nn.Module):
    """The model of open-pi-zero, at any size.

    Shapes: B samples, H the action horizon, A the model's action dimension, S the state's, T prompt slots. Pictures are
    (B, 3, h, w) in [-1, 1], one a sample; tokens and their mask (B, T), the mask's true values first; the state (B, S).
    Picture and prompt attend to each other, the state's token to them and itself, the actions to everything. What does
    not depend on the actions is computed once: it is the prefix.
    """

    # Methods that are parts of an inference, for those who measure it.
    PARTS: ClassVar[dict[str, str]] = {
        "prefix": "prefix",
        "suffix_context": "set-up",
        "condition": "modulation",
        "velocity": "flow step",
    }

    def __init__(self, config: OpenPiZeroConfig):
        super().__init__()
        self.config = config
        width = config.expert.width
        self.vision = Siglip(config.siglip)
        self.image_projector = nn.Linear(config.siglip.width, config.gemma.width)
        self.language = LanguageModel(config.gemma, config.vocab_size, config.logit_cap)
        self.expert = ActionExpert(config.expert, adaptive=False, logit_cap=config.logit_cap)
        self.state_proj = nn.Linear(config.state_dim, width)
        self.action_in_proj = nn.Linear(config.action_dim, width)
        self.action_time_mlp_in = nn.Linear(2 * width, width)
        self.action_time_mlp_out = nn.Linear(width, width)
        self.action_out_proj = nn.Linear(width, config.action_dim)
        if not self.action_in_proj.weight.is_meta:
            self.apply(_initialize)

    @property
    def noise_shape(self) -> tuple[int, int]:
        """Return (H, A)."""
        return self.config.action_horizon, self.config.action_dim

    @property
    def dtype(self) -> torch.dtype:
        """Return the type of the weights."""
        return self.action_in_proj.weight.dtype

    @property
    def device(self) -> torch.device:
        """Return the device of the weights."""
        return self.action_in_proj.weight.device

    def also_called(self, name: str) -> str:
        """Return open-pi-zero's name of a module, so that regular expressions may use either name."""
        from headless_eval.policies.open_pi_zero.names import to_theirs

        return to_theirs(f"{name}.").removesuffix(".")

    def lay_out_for_cpu(self) -> None:
        """Store the linear layers' weights column by column in memory, with unchanged values and shapes.

        On a CPU this makes matrix products with few rows, such as those of a flow step, a third faster.
        """
        for module in self.modules():
            if isinstance(module, nn.Linear):
                module.weight.data = module.weight.data.t().contiguous().t()

    def embed_prefix(self, images: Tensor, tokens: Tensor, token_mask: Tensor) -> Tensor:
        """Return the embedded tokens of picture and prompt (B, L, width) as the first layer reads them; padding is 0.

        The reference divides the picture's features by the square root of the width, and then multiplies all by it.
        """
        seen = self.image_projector(self.vision(images.to(self.dtype)))
        words = self.language.embed_tokens(tokens) * math.sqrt(self.config.gemma.width)
        return torch.cat([seen, words * token_mask[..., None]], dim=1)

    def embed_state(self, state: Tensor) -> Tensor:
        """Return the state's token (B, 1, width)."""
        return self.state_proj(state.to(self.dtype))[:, None] * math.sqrt(self.config.expert.width)

    def prefix(self, images: Tensor, tokens: Tensor, token_mask: Tensor, state: Tensor) -> Prefix:
        """Run picture and prompt through the language model, and the state through the expert."""
        config = self.config
        x = self.embed_prefix(images, tokens, token_mask)
        before = x.shape[1] - tokens.shape[1]
        mask = torch.cat([token_mask.new_ones(len(tokens), before), token_mask], dim=1)
        positions = torch.arange(1, x.shape[1] + 1, device=x.device)[None]
        by = rotation(positions, config.gemma.head_dim, config.rope_theta)
        read = self.language(x, by, attention_mask(mask[:, None], config.gemma, self.dtype))
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
        return Prefix(self._with_state(self.embed_state(state), read, mask), mask)

    def _with_state(self, x: Tensor, read: Sequence[KeysValues], mask: Tensor) -> list[KeysValues]:
        """Append the keys and values of the state's token (B, 1, width) to those that it attends to."""
        config = self.config.expert
        position = torch.ones(1, 1, dtype=torch.int64, device=x.device)
        by = rotation(position, config.head_dim, self.config.expert_rope_theta)
        scores = attention_mask(mask[:, None], config, self.dtype)
        layers: list[Any] = list(self.expert.layers)
        stored = []
        for layer, before in zip(layers[:-1], read, strict=False):
            x, own = layer(x, by, scores, before)
            stored.append(_append(before, own))
        return [*stored, _append(read[-1], layers[-1].keys_values(x, by))]

    def suffix_context(self, prefix: Prefix) -> SuffixContext:
        """Compute the tensors that all flow steps on this prefix share."""
        config, horizon = self.config.expert, self.config.action_horizon
        positions = torch.arange(2, 2 + horizon, device=prefix.mask.device)[None]
        allowed = torch.cat([prefix.mask, prefix.mask.new_ones(len(prefix.mask), horizon)], dim=1)[:, None]
        return SuffixContext(
            rotation(positions, config.head_dim, self.config.expert_rope_theta),
            attention_mask(allowed, config, self.dtype),
        )

    def condition(self, time: Tensor) -> Tensor:
        """Embed flow times (N,) as (N, 1, width)."""
        width = self.config.expert.width
        return time_embedding(time, width, self.config.time_max_period).to(self.dtype)[:, None]

    def velocity(self, prefix: Prefix, context: SuffixContext, x_t: Tensor, embedding: Tensor) -> Tensor:
        """Return the flow's velocity (B, H, A) float32 at noisy actions x_t, given ``condition``'s result."""
        x = self.action_in_proj(x_t.to(self.dtype))
        x = torch.cat([embedding.expand(x.shape).to(x.dtype), x], dim=-1)
        x = self.action_time_mlp_out(F.silu(self.action_time_mlp_in(x)))
        x = x * math.sqrt(self.config.expert.width)
        # Under autocast the layers add up in the weights' float32.
        x = self.expert(x.to(self.dtype), context.by, context.mask, prefix.layers, None)
        return self.action_out_proj(x).float()

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
        """Integrate the flow from noise (B, H, A) to actions (B, H, A) float32 with Euler steps, clipped at the end.

        ``num_steps`` defaults to the configuration's. The prefix is computed once; unused prompt slots are left out.
        Arguments are moved to the weights' device; there is one picture, which no mask covers.
        """
        steps = num_steps or self.config.num_steps
        tokens, token_mask = drop_unused(tokens, token_mask)
        prefix = self.prefix(
            images[0].to(self.device),
            tokens.to(self.device),
            token_mask.to(self.device),
            state.to(self.device),
        )
        x_t = self.flow(prefix, noise.to(self.device, torch.float32), steps)
        clip = self.config.final_clip
        return x_t.clamp(-clip, clip)

    def flow(
        self, prefix: Prefix, x_t: Tensor, steps: int, velocity: Callable[..., Tensor] | None = None
    ) -> Tensor:
        """Integrate the flow from x_t (B, H, A) at time 0 in so many Euler steps, without clipping.

        Args:
            prefix: of the observations.
            x_t: the noise.
            steps: of equal length.
            velocity: computes what the method ``velocity`` does; by default that method.
        """
        velocity = velocity or self.velocity
        context, embeddings = self.suffix_context(prefix), self.condition(flow_times(steps, x_t.device))
        for step in range(steps):
            x_t = x_t + velocity(prefix, context, x_t, embeddings[step : step + 1]) / steps
        return x_t

    def flow_matching_loss(
        self,
        images: Sequence[Tensor],
        image_masks: Sequence[Tensor],
        tokens: Tensor,
        token_mask: Tensor,
        state: Tensor,
        actions: Tensor,
        noise: Tensor,
        time: Tensor,
        repeats: int = 1,
    ) -> Tensor:
        """Return the squared error (B * repeats, H, A) of the velocity at x_t = (1 - 0.999 t) noise + t actions.

        Noise (B * repeats, H, A) and time (B * repeats,) hold ``repeats`` draws for each observation, side by
        side; one prefix serves them all. Actions are (B, H, A). Differentiable; no branch depends on values.
        """
        actions = actions.repeat_interleave(repeats, dim=0)
        at = time[:, None, None]
        x_t = (1 - (1 - _LEAST_NOISE) * at) * noise + at * actions
        prefix = self.prefix(images[0], tokens, token_mask, state).repeat(repeats)
        velocity = self.velocity(prefix, self.suffix_context(prefix), x_t, self.condition(time))
        return (velocity - (actions - (1 - _LEAST_NOISE) * noise)).square()

    forward = flow_matching_loss


def drop_unused(tokens: Tensor, token_mask: Tensor) -> tuple[Tensor, Tensor]:
    """Leave out the prompt slots beyond ``slots_for`` the longest prompt: nothing attends to them.

    The shapes depend on the mask's values: a mask on the CPU spares the accelerator a synchronisation.
    """
    last = int(token_mask.any(dim=0).nonzero().max()) + 1 if bool(token_mask.any()) else 0
    slots = slots_for(last, token_mask.shape[1])
    return tokens[:, :slots], token_mask[:, :slots]


def _append(before: KeysValues, own: KeysValues) -> KeysValues:
    return KeysValues(torch.cat([before.keys, own.keys], 2), torch.cat([before.values, own.values], 2))


def _initialize(module: nn.Module) -> None:
    """Draw the initial weights of training."""
    if isinstance(module, nn.Linear | nn.Conv2d):
        fan_in = module.weight[0].numel()
        nn.init.normal_(module.weight, std=fan_in**-0.5)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=module.embedding_dim**-0.5)
