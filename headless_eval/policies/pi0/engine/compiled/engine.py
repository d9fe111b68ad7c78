"""The compiled engine: the model's layers by torch's compiler, activations rounded within what it compiles.

One compiled function serves all layers of a kind, so that compiling takes seconds and not minutes. Shapes are
fixed, and weights are arguments: a precision that changes the weights alone compiles nothing. On a GPU an
inference, prefix and all flow steps, is one CUDA graph.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from headless_eval.policies.paligemma.batch import BatchEngine
from headless_eval.policies.pi0.engine.compiled import functions
from headless_eval.policies.pi0.engine.compiled.compilation import CompiledFunction
from headless_eval.policies.pi0.engine.compiled.rounding import ROUNDED, Rounding
from headless_eval.policies.pi0.engine.joined_weights import joined
from headless_eval.policies.pi0.layers import LayerTable, layer_names, single_names
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


class CompiledEngine(BatchEngine):
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

    def compiled(self, function: Callable[..., Any], names: Mapping[str, str]) -> CompiledFunction:
        """Return one of ``functions`` compiled, with the rounding of the modules that it stands for.

        Functions that round the same roles share what is compiled, so nothing that they do not round may tell
        them apart.

        Args:
            function: one of ``functions``.
            names: by role, the dotted names of the modules.
        """
        roles = frozenset(role for role, name in names.items() if name in self._rounded)
        rounding = Rounding(self._dtype, roles) if roles else Rounding()
        return CompiledFunction(function, self.config, rounding, names, self._handle)

    def _new_plan(self, key: tuple[int, ...], given: Inputs) -> "_Plan":
        with self._lock:
            if key not in self._plans:
                if len(self._plans) >= _PLANS:
                    self._plans.pop(next(iter(self._plans)))
                plan = _Captured(self, key, given) if self._on_gpu else _Plan(self, key, given)
                self._plans[key] = plan
            return self._plans[key]


class _Weights:
    """The weights as the compiled functions take them, those of one product joined."""

    def __init__(self, model: Pi0) -> None:
        table = LayerTable(model)
        vision, language, expert = (table.towers[tower] for tower in ("vision", "language", "expert"))
        single = table.single
        self.patches = _of(single["patches"], single["positions"])
        self.vision = [
            (
                *_of(layer["norm1"]),
                *_joined(layer["query"], layer["key"], layer["value"]),
                *_of(layer["out"], layer["norm2"], layer["up"], layer["down"]),
            )
            for layer in vision
        ]
        self.seen = _of(single["vision_norm"], single["projector"])
        self.prompt = _of(single["words"])
        self.language = [
            (*_of(layer["norm1"]), *_projections(layer), *_of(layer["norm2"]), *_mlp(layer))
            for layer in language[:-1]
        ]
        last = language[-1]
        self.language_end = (*_of(last["norm1"]), *_joined(last["key"], last["value"]))
        self.expert = [(*_projections(layer), *_mlp(layer)) for layer in expert]
        self.norms: list[tuple[Tensor, ...]] = []
        self.norm: tuple[Tensor, ...] = ()
        self.action_in, self.action_out = _of(single["action_in"]), _of(single["action_out"])
        self.state: tuple[Tensor, ...] = ()
        self.mix: tuple[Tensor, ...] = ()
        if not model.config.pi05:
            self.norms = [_of(layer["norm1"], layer["norm2"]) for layer in expert]
            self.norm = _of(single["expert_norm"])
            self.state = _of(single["state"])
            self.mix = _of(single["mix_in"], single["mix_out"])


def _of(*modules: nn.Module) -> tuple[Tensor, ...]:
    """Return weights and biases."""
    return tuple(parameter.detach() for module in modules for parameter in module.parameters(recurse=False))


def _joined(*modules: nn.Linear) -> tuple[Tensor, ...]:
    biases = [module.bias.detach() for module in modules if module.bias is not None]
    return (joined(modules), torch.cat(biases)) if biases else (joined(modules),)


def _projections(layer: Mapping[str, Any]) -> tuple[Tensor, ...]:
    return *_joined(layer["query"], layer["key"], layer["value"]), *_of(layer["out"])


def _mlp(layer: Mapping[str, Any]) -> tuple[Tensor, ...]:
    return *_joined(layer["gate"], layer["up"]), *_of(layer["down"])


class _Plan:
    """One inference, function by function, for one number of samples, views, prompt slots and flow steps."""

    def __init__(self, engine: CompiledEngine, key: tuple[int, ...], given: Inputs) -> None:
        self.batch, self.views, self.slots, self.steps = key
        self.config, self.weights = engine.config, engine._weights
        self.device, self.dtype = engine.model.device, engine.model.dtype
        config, weights = self.config, self.weights
        depth = config.gemma.depth
        self.patches = engine.compiled(functions.patches, single_names("patches", "positions"))
        self.vision = [
            engine.compiled(functions.vision_layer, layer_names("vision", index))
            for index in range(config.siglip.depth)
        ]
        self.seen = engine.compiled(functions.seen, single_names("vision_norm", "projector"))
        self.prompt = engine.compiled(functions.prompt, single_names("words"))
        self.language = [
            engine.compiled(functions.prefix_layer, layer_names("language", index))
            for index in range(depth - 1)
        ]
        self.language_end = engine.compiled(functions.prefix_end, layer_names("language", depth - 1))
        self.expert = [
            engine.compiled(functions.expert_layer, layer_names("expert", index)) for index in range(depth)
        ]
        self.state = engine.compiled(functions.state_token, single_names("state"))
        self.begin = engine.compiled(functions.step_begin, single_names("action_in", "mix_in", "mix_out"))
        self.end = engine.compiled(functions.step_end, single_names("expert_norm", "action_out"))
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
        suffix = functions.suffix_tokens(config)
        shape = (self.batch, config.gemma.num_kv_heads, x.shape[1] + suffix, config.gemma.head_dim)
        depth = config.gemma.depth
        stored = torch.empty(2 * depth, *shape, dtype=self.dtype, device=self.device).unbind()
        around = functions.around_prefix(config, given.mask, self.dtype)
        for index, (layer, of) in enumerate(zip(self.language, weights.language, strict=True)):
            x = layer(x, *around, stored[2 * index], stored[2 * index + 1], *of)
        self.language_end(x, *around[:2], stored[-2], stored[-1], *weights.language_end)
        around = functions.around_suffix(config, given.mask, self.dtype)
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
