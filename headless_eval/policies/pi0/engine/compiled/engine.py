"""The compiled engine: the model's layers by torch's compiler, activations rounded within what it compiles.

One compiled function serves all layers of a kind, so that compiling takes seconds and not minutes. Shapes are
fixed, and weights are arguments: a precision that changes the weights alone compiles nothing. On a GPU an
inference, prefix and all flow steps, is one CUDA graph.
"""

import threading
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from headless_eval.policies.pi0.engine.compiled import layers
from headless_eval.policies.pi0.engine.compiled.parts import Part
from headless_eval.policies.pi0.engine.compiled.rounding import ROUNDED, Rounding
from headless_eval.policies.pi0.engine.packing import joined
from headless_eval.policies.pi0.model import Pi0, drop_unused, flow_times
from headless_eval.quant import Handle
from headless_eval.quant.precision import Precision

_PLANS = 32  # kept at a time, each of other shapes


class Inputs(NamedTuple):
    """What an inference starts from, on the model's device; masked views and unused slots are left out."""

    images: Tensor
    mask: Tensor
    tokens: Tensor
    state: Tensor
    noise: Tensor


def why_not(precision: Precision) -> str | None:
    """Return why this precision cannot be compiled for a GPU here; None if it can."""
    if precision.activations and precision.dtype not in ROUNDED:
        return f"it does not round activations to {precision.dtype}"
    return None if find_spec("triton") else "on a GPU it needs triton"


class CompiledEngine:
    """Samples actions by compiled functions.

    Args:
        model: in the precision.
        precision: that precision.
        handle: of the precision; it is told which outputs are rounded.
    """

    name = "compiled"

    def __init__(self, model: Pi0, precision: Precision, handle: Handle | None = None) -> None:
        self.model, self.config = model, model.config
        self._handle = handle
        hooked = handle.hooked if handle is not None and precision.activations else ()
        self._dtype = precision.dtype if hooked else None
        self._rounded = frozenset(hooked)
        self._plans: dict[tuple[int, ...], _Plan] = {}
        self._lock = threading.RLock()
        self._on_gpu = model.device.type == "cuda"
        # Graphs share their memory: one runs at a time, and nothing outlives it.
        self._pool = torch.cuda.graph_pool_handle() if self._on_gpu else None
        with torch.inference_mode(False), torch.no_grad():
            self._weights = _Weights(model)

    def close(self) -> None:
        """Free the graphs and what they hold."""
        self._plans.clear()

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
        """Integrate the flow from noise to actions, as ``Pi0.sample_actions`` does."""
        images, image_masks, tokens, token_mask = drop_unused(images, image_masks, tokens, token_mask)
        steps = num_steps or self.config.num_steps
        key = (len(tokens), len(images), tokens.shape[1], steps)
        patches = self.config.siglip.num_patches
        masks = [mask[:, None].expand(-1, patches) for mask in image_masks]
        with torch.inference_mode():
            given = Inputs(
                torch.stack(list(images), dim=1) if images else tokens.new_empty(0),
                torch.cat([*masks, token_mask], dim=1),
                tokens,
                state,
                noise,
            )
            plan = self._plans.get(key) or self._new_plan(key, given)
            return plan(given)

    def part(self, function: Callable[..., Any], prefix: str = "", *names: str) -> Part:
        """Return a function of ``layers`` compiled, with the rounding of these modules below ``prefix``, or of all.

        Parts that round the same share what is compiled, so nothing that they do not round may tell them apart.
        """
        leaves = frozenset(name.removeprefix(prefix) for name in self._rounded if name.startswith(prefix))
        leaves = leaves.intersection(names) if names else leaves
        rounding = Rounding(self._dtype, leaves) if leaves else Rounding()
        return Part(function, self.config, rounding, prefix, self._handle)

    def _new_plan(self, key: tuple[int, ...], given: Inputs) -> "_Plan":
        with self._lock:
            if key not in self._plans:
                if len(self._plans) >= _PLANS:
                    self._plans.pop(next(iter(self._plans)))
                plan = _Captured(self, key, given) if self._on_gpu else _Plan(self, key, given)
                self._plans[key] = plan
            return self._plans[key]


class _Weights:
    """The weights as the parts take them, those of one product joined."""

    def __init__(self, model: Any) -> None:
        config = model.config
        vision, language, expert = model.vision, model.language, model.expert
        self.patches = _of(vision.patch_embedding, vision.position_embedding)
        self.vision = [
            (
                *_of(layer.layer_norm1),
                *_joined(*(getattr(layer.self_attn, f"{name}_proj") for name in "qkv")),
                *_of(layer.self_attn.out_proj, layer.layer_norm2, layer.mlp.fc1, layer.mlp.fc2),
            )
            for layer in vision.layers
        ]
        self.seen = _of(vision.post_layernorm, model.image_projector)
        self.prompt = _of(language.embed_tokens)
        self.language = [
            (
                *_of(layer.input_layernorm),
                *_projections(layer),
                *_of(layer.post_attention_layernorm),
                *_mlp(layer),
            )
            for layer in language.layers[:-1]
        ]
        last = language.layers[-1]
        self.language_end = (
            *_of(last.input_layernorm),
            *_joined(last.self_attn.k_proj, last.self_attn.v_proj),
        )
        self.expert = [(*_projections(layer), *_mlp(layer)) for layer in expert.layers]
        self.norms: list[tuple[Tensor, ...]] = []
        self.norm: tuple[Tensor, ...] = ()
        self.action_in, self.action_out = _of(model.action_in_proj), _of(model.action_out_proj)
        self.state: tuple[Tensor, ...] = ()
        self.mix: tuple[Tensor, ...] = ()
        if not config.pi05:
            self.norms = [
                _of(layer.input_layernorm, layer.post_attention_layernorm) for layer in expert.layers
            ]
            self.norm = _of(expert.norm)
            self.state = _of(model.state_proj)
            self.mix = _of(model.action_time_mlp_in, model.action_time_mlp_out)


def _of(*modules: nn.Module) -> tuple[Tensor, ...]:
    """Return weights and biases."""
    return tuple(parameter.detach() for module in modules for parameter in module.parameters(recurse=False))


def _joined(*modules: nn.Linear) -> tuple[Tensor, ...]:
    biases = [module.bias.detach() for module in modules if module.bias is not None]
    return (joined(modules), torch.cat(biases)) if biases else (joined(modules),)


def _projections(layer: Any) -> tuple[Tensor, ...]:
    of = layer.self_attn
    return *_joined(of.q_proj, of.k_proj, of.v_proj), *_of(of.o_proj)


def _mlp(layer: Any) -> tuple[Tensor, ...]:
    return *_joined(layer.mlp.gate_proj, layer.mlp.up_proj), *_of(layer.mlp.down_proj)


class _Plan:
    """One inference, part by part, for one number of samples, views, prompt slots and flow steps."""

    def __init__(self, engine: CompiledEngine, key: tuple[int, ...], given: Inputs) -> None:
        self.batch, self.views, self.slots, self.steps = key
        self.config, self.weights = engine.config, engine._weights
        self.device, self.dtype = engine.model.device, engine.model.dtype
        config, weights = self.config, self.weights
        depth = config.gemma.depth
        self.patches = engine.part(layers.patches, "vision.", "patch_embedding", "position_embedding")
        self.vision = [
            engine.part(layers.vision_layer, f"vision.layers.{index}.")
            for index in range(config.siglip.depth)
        ]
        self.seen = engine.part(layers.seen, "", "vision.post_layernorm", "image_projector")
        self.prompt = engine.part(layers.prompt, "language.", "embed_tokens")
        self.language = [
            engine.part(layers.prefix_layer, f"language.layers.{index}.") for index in range(depth - 1)
        ]
        self.language_end = engine.part(layers.prefix_end, f"language.layers.{depth - 1}.")
        self.expert = [engine.part(layers.expert_layer, f"expert.layers.{index}.") for index in range(depth)]
        self.state = engine.part(layers.state_token, "", "state_proj")
        mix = ("action_time_mlp_in", "action_time_mlp_out")
        self.begin = engine.part(layers.step_begin, "", "action_in_proj", *mix)
        self.end = engine.part(layers.step_end, "", "expert.norm", "action_out_proj")
        embeddings, modulations = engine.model.condition(flow_times(self.steps, self.device))
        self.number = torch.tensor(float(self.steps), device=self.device)
        # What the expert's norms and the first projection take, step by step.
        self.norms: list[list[tuple[Tensor, ...]]] = []
        self.norm: list[tuple[Tensor, ...]] = []
        self.times: list[Tensor] = []
        for step in range(self.steps):
            now = slice(step, step + 1)
            self.times.append(embeddings[now])
            if modulations is None:
                self.norms.append(weights.norms)
                self.norm.append(weights.norm)
                continue
            at = [tuple(part[now].contiguous() for part in modulation) for modulation in modulations]
            self.norms.append([(*at[2 * index], *at[2 * index + 1]) for index in range(depth)])
            self.norm.append(at[-1][:2])

    def __call__(self, given: Inputs) -> Tensor:
        """Return the actions (B, H, A) float32."""
        images, mask, tokens, state, noise = (part.to(self.device) for part in given)
        return self.run(Inputs(images.to(self.dtype), mask, tokens, state.to(self.dtype), noise.float()))

    def run(self, given: Inputs) -> Tensor:
        """Compute the actions from inputs on the device, in their types."""
        config, weights = self.config, self.weights
        x = self.prompt(given.tokens, *weights.prompt)
        if self.views:
            seen = self.patches(given.images.flatten(0, 1), *weights.patches)
            for layer, of in zip(self.vision, weights.vision, strict=True):
                seen = layer(seen, *of)
            seen = self.seen(seen, *weights.seen)
            x = torch.cat([seen.view(self.batch, -1, seen.shape[-1]), x], dim=1)
        suffix = layers.suffix_tokens(config)
        shape = (self.batch, config.gemma.num_kv_heads, x.shape[1] + suffix, config.gemma.head_dim)
        depth = config.gemma.depth
        stored = torch.empty(2 * depth, *shape, dtype=self.dtype, device=self.device).unbind()
        around = layers.around_prefix(config, given.mask, self.dtype)
        for index, (layer, of) in enumerate(zip(self.language, weights.language, strict=True)):
            x = layer(x, *around, stored[2 * index], stored[2 * index + 1], *of)
        self.language_end(x, *around[:2], stored[-2], stored[-1], *weights.language_end)
        around = layers.around_suffix(config, given.mask, self.dtype)
        first = () if config.pi05 else (self.state(given.state, *weights.state),)
        x_t = given.noise
        for step in range(self.steps):
            mix = () if config.pi05 else (*first, self.times[step], *weights.mix)
            x = self.begin(x_t, *weights.action_in, *mix)
            for index, (layer, of) in enumerate(zip(self.expert, weights.expert, strict=True)):
                x = layer(x, *around, stored[2 * index], stored[2 * index + 1], *of, *self.norms[step][index])
            x_t = self.end(x, x_t, self.number, *weights.action_out, *self.norm[step])
        return x_t


class _Captured(_Plan):
    """A plan as one CUDA graph, with places of its own for what goes in and comes out."""

    def __init__(self, engine: CompiledEngine, key: tuple[int, ...], given: Inputs) -> None:
        super().__init__(engine, key, given)
        self._lock = engine._lock
        images, mask, tokens, state, noise = (part.to(self.device, copy=True) for part in given)
        self._given = Inputs(images.to(self.dtype), mask, tokens, state.to(self.dtype), noise.float())
        with torch.cuda.device(self.device):
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(2):  # the first compiles
                    self.run(self._given)
            torch.cuda.current_stream().wait_stream(stream)
            torch.cuda.synchronize()
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph, pool=engine._pool):
                self._actions = self.run(self._given)

    def __call__(self, given: Inputs) -> Tensor:
        """Return the actions (B, H, A) float32."""
        with self._lock:
            for place, part in zip(self._given, given, strict=True):
                place.copy_(part, non_blocking=True)
            self._graph.replay()
            return self._actions.clone()
