"""π0 and π0.5: SigLIP, Gemma and its action expert, trained and sampled by flow matching."""

import math
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from headless_eval.policies.paligemma.gemma import (
    ActionExpert,
    AdaptiveRMSNorm,
    KeysValues,
    LanguageModel,
    Modulation,
    Rotation,
    attention_mask,
    rotation,
)
from headless_eval.policies.paligemma.siglip import Siglip
from headless_eval.policies.paligemma.tokenizer import slots_for
from headless_eval.policies.pi0.config import Pi0Config
from headless_eval.policies.pi0.formats.names import to_openpi

_SHORTEST_PERIOD, _LONGEST_PERIOD = 4e-3, 4.0


class Prefix(NamedTuple):
    """Key-value cache of images and prompt: keys and values of every layer, and the mask of valid tokens."""

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
    """Tensors shared by all flow steps: the suffix's rotary tables, its mask and the state's token."""

    by: Rotation
    mask: Tensor
    state: Tensor | None


def time_embedding(time: Tensor, width: int) -> Tensor:
    """Map flow times (N,) to sines and cosines (N, width) of periods from 4e-3 to 4, in float32.

    The phases are computed in float64: at the shortest period, float32 would cost four digits.
    """
    steps = torch.linspace(0, 1, width // 2, dtype=torch.float64, device=time.device)
    period = _SHORTEST_PERIOD * (_LONGEST_PERIOD / _SHORTEST_PERIOD) ** steps
    phase = time[:, None].double() * (2 * math.pi / period)
    return torch.cat([phase.sin(), phase.cos()], dim=-1).float()


def sample_time(
    batch: int,
    sampler: str = "beta",
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Draw flow times (batch,) in [0.001, 1) for training; 1 is pure noise.

    ``"beta"`` is π0's Beta(1.5, 1), which favours times near noise; ``"uniform"`` draws all times alike.
    """
    uniform = torch.rand(batch, generator=generator, device=device)
    if sampler == "beta":
        # The distribution function of Beta(a, 1) is x**a.
        uniform = uniform ** (1 / 1.5)
    elif sampler != "uniform":
        raise ValueError(f"the time sampler is 'beta' or 'uniform', not {sampler!r}")
    return uniform * 0.999 + 0.001


def flow_times(steps: int, device: torch.device) -> Tensor:
    """Return the flow times of Euler steps from 1, summed in float32 as the reference implementations do.

    The shortest period of the time embedding turns the last bit of a time into the fourth digit of a phase.
    """
    times = torch.empty(steps, dtype=torch.float32)
    change = torch.tensor(-1.0 / steps, dtype=torch.float32)
    now = torch.tensor(1.0, dtype=torch.float32)
    for step in range(steps):
        times[step] = now
        now = now + change
    return times.to(device)


def drop_unused(
    images: Sequence[Tensor], image_masks: Sequence[Tensor], tokens: Tensor, token_mask: Tensor
) -> tuple[list[Tensor], list[Tensor], Tensor, Tensor]:
    """Drop views masked for the whole batch, and the prompt's padding beyond ``slots_for`` the longest prompt.

    No token attends to them and positions count only valid tokens, so the model's result is the same. The
    shapes depend on the masks' values, so masks should be on the CPU, which avoids a synchronisation with the GPU.
    """
    used = [index for index, mask in enumerate(image_masks) if bool(mask.any())]
    last = int(token_mask.any(dim=0).nonzero().max()) + 1 if bool(token_mask.any()) else 0
    slots = slots_for(last, token_mask.shape[1])
    return (
        [images[index] for index in used],
        [image_masks[index] for index in used],
        tokens[:, :slots],
        token_mask[:, :slots],
    )


class Pi0(nn.Module):
    """The model of π0 and π0.5, at any size.

    Shapes: B samples, H the action horizon, A the model's action dimension, T the padded prompt length. Images are
    (B, 3, h, w) in [-1, 1] with a mask (B,) each, tokens and their mask (B, T), the state (B, A). Images and
    prompt form the prefix, which attends to itself; state and actions form the suffix, which attends to the
    prefix and itself, except that π0's state token does not attend to actions. Flow time runs from 1 (noise) to 0.
    """

    PARTS: ClassVar[dict[str, str]] = {
        "prefix": "prefix",
        "suffix_context": "set-up",
        "condition": "modulation",
        "velocity": "flow step",
    }
    """The methods that an inference consists of, with the names of these parts in measurements."""

    def __init__(self, config: Pi0Config):
        super().__init__()
        self.config = config
        width = config.expert.width
        self.vision = Siglip(config.siglip)
        self.image_projector = nn.Linear(config.siglip.width, config.gemma.width)
        self.language = LanguageModel(config.gemma, config.vocab_size)
        self.expert = ActionExpert(config.expert, adaptive=config.pi05)
        self.action_in_proj = nn.Linear(config.action_dim, width)
        self.action_out_proj = nn.Linear(width, config.action_dim)
        if config.pi05:
            self.time_mlp_in = nn.Linear(width, width)
            self.time_mlp_out = nn.Linear(width, width)
        else:
            self.state_proj = nn.Linear(config.action_dim, width)
            self.action_time_mlp_in = nn.Linear(2 * width, width)
            self.action_time_mlp_out = nn.Linear(width, width)
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
        """Return openpi's name of a module, so that regular expressions may use either name."""
        return to_openpi(f"{name}.").removesuffix(".")

    def lay_out_for_cpu(self) -> None:
        """Store the linear layers' weights column by column in memory, with unchanged values and shapes.

        On a CPU this makes matrix products with few rows, such as those of a flow step, a third faster.
        """
        for module in self.modules():
            if isinstance(module, nn.Linear):
                module.weight.data = module.weight.data.t().contiguous().t()

    def embed_prefix(
        self, images: Sequence[Tensor], image_masks: Sequence[Tensor], tokens: Tensor, token_mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the prefix's embedded tokens (B, L, width) and their mask (B, L), views first."""
        parts, masks = [], []
        if images:
            views = torch.stack(list(images), dim=1).to(self.dtype)
            seen = self.image_projector(self.vision(views.flatten(0, 1)))
            patches = seen.shape[1]
            parts.append(seen.unflatten(0, views.shape[:2]).flatten(1, 2))
            masks.append(torch.stack(list(image_masks), dim=1).repeat_interleave(patches, dim=1))
        parts.append(self.language.embed_tokens(tokens) * math.sqrt(self.config.gemma.width))
        masks.append(token_mask)
        return torch.cat(parts, dim=1), torch.cat(masks, dim=1)

    def prefix(
        self, images: Sequence[Tensor], image_masks: Sequence[Tensor], tokens: Tensor, token_mask: Tensor
    ) -> Prefix:
        """Run images and prompt through the language model.

        The mask is applied even if it masks no token: attention without a mask rounds differently, and a row of a
        batch would depend on the other rows.
        """
        x, mask = self.embed_prefix(images, image_masks, tokens, token_mask)
        by = rotation(mask.cumsum(dim=1) - 1, self.config.gemma.head_dim)
        scores = attention_mask(mask[:, None], self.config.gemma, self.dtype)
        return Prefix(self.language(x, by, scores), mask)

    def suffix_context(self, prefix: Prefix, state: Tensor) -> SuffixContext:
        """Compute the tensors that all flow steps on this prefix and state (B, A) share."""
        batch, before = prefix.mask.shape
        horizon, has_state = self.config.action_horizon, not self.config.pi05
        tokens = horizon + has_state
        device = prefix.mask.device
        positions = prefix.mask.sum(dim=1, keepdim=True) + torch.arange(tokens, device=device)
        own = torch.ones(tokens, tokens, dtype=torch.bool, device=device)
        if has_state:
            own[0, 1:] = False
        earlier = prefix.mask[:, None].expand(batch, tokens, before)
        allowed = torch.cat([earlier, own.expand(batch, tokens, tokens)], dim=-1)
        mask = attention_mask(allowed, self.config.expert, self.dtype)
        embedded = self.state_proj(state.to(self.dtype))[:, None] if has_state else None
        return SuffixContext(rotation(positions, self.config.expert.head_dim), mask, embedded)

    def condition(self, time: Tensor) -> tuple[Tensor, list[Modulation] | None]:
        """Embed flow times (N,) as (N, 1, width); for π0.5, also the modulations of the expert's norms."""
        embedding = time_embedding(time, self.config.expert.width).to(self.dtype)
        if not self.config.pi05:
            return embedding[:, None], None
        hidden = F.silu(self.time_mlp_in(embedding))
        return embedding[:, None], self.expert.modulations(F.silu(self.time_mlp_out(hidden)))

    def velocity(
        self,
        prefix: Prefix,
        context: SuffixContext,
        x_t: Tensor,
        embedding: Tensor,
        modulations: list[Modulation] | None,
    ) -> Tensor:
        """Return the flow's velocity (B, H, A) float32 at noisy actions x_t, given ``condition``'s result."""
        x = self.action_in_proj(x_t.to(self.dtype))
        if context.state is not None:
            x = torch.cat([x, embedding.expand(x.shape).to(x.dtype)], dim=-1)
            x = self.action_time_mlp_out(F.silu(self.action_time_mlp_in(x)))
            x = torch.cat([context.state, x], dim=1)
        # Under autocast the layers add up in the weights' float32.
        x = self.expert(x.to(self.dtype), context.by, context.mask, prefix.layers, modulations)
        return self.action_out_proj(x[:, -self.config.action_horizon :]).float()

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
        """Integrate the flow from noise (B, H, A) to actions (B, H, A) float32 with Euler steps.

        ``num_steps`` defaults to the configuration's. The prefix is computed once, without masked views and unneeded
        padding of the prompt. Arguments are moved to the weights' device.
        """
        steps = num_steps or self.config.num_steps
        images, image_masks, tokens, token_mask = drop_unused(images, image_masks, tokens, token_mask)
        prefix = self.prefix(
            [image.to(self.device) for image in images],
            [mask.to(self.device) for mask in image_masks],
            tokens.to(self.device),
            token_mask.to(self.device),
        )
        context = self.suffix_context(prefix, state.to(self.device))
        embeddings, modulations = self.condition(flow_times(steps, self.device))
        x_t = noise.to(self.device, torch.float32)
        for step in range(steps):
            now = slice(step, step + 1)
            modulation = modulations and [Modulation(*(part[now] for part in m)) for m in modulations]
            x_t = x_t - self.velocity(prefix, context, x_t, embeddings[now], modulation) / steps
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
        """Return the squared error (B * repeats, H, A) of the velocity at x_t = t noise + (1 - t) actions.

        Noise (B * repeats, H, A) and time (B * repeats,) hold ``repeats`` draws for each observation, next to each
        other, which share one prefix. Actions are (B, H, A). Differentiable; no branch depends on values.
        """
        actions = actions.repeat_interleave(repeats, dim=0)
        at = time[:, None, None]
        x_t = at * noise + (1 - at) * actions
        prefix = self.prefix(images, image_masks, tokens, token_mask).repeat(repeats)
        context = self.suffix_context(prefix, state.repeat_interleave(repeats, dim=0))
        velocity = self.velocity(prefix, context, x_t, *self.condition(time))
        return (velocity - (noise - actions)).square()

    forward = flow_matching_loss


def _initialize(module: nn.Module) -> None:
    """Draw the initial weights of training."""
    if isinstance(module, nn.Linear | nn.Conv2d):
        fan_in = module.weight[0].numel()
        nn.init.normal_(module.weight, std=fan_in**-0.5)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=module.embedding_dim**-0.5)
    elif isinstance(module, AdaptiveRMSNorm):
        # A gate of zero makes every layer start as the identity. ``apply`` visits a module after its children.
        nn.init.zeros_(module.dense.weight)


def count_parameters(config: Pi0Config) -> int:
    """Return the number of parameters of a model of these sizes."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in Pi0(config).parameters())
