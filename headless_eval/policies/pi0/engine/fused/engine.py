"""The fused engine: π0 and π0.5 on a CUDA GPU, as hand-written kernels in static graphs.

Two CUDA graphs hold an inference, prefix and flow steps, with nothing read back to the host on the way. What makes it
fast:

- queries, keys and values come of one matrix product, and so do gate and up;
- norms, gates, rotary positions and GELU are fused with what stands beside them;
- what the flow time alone decides, π0.5's modulations, is computed once, with the weights;
- keys and values have one place each, and attention reads as many of them as count, without a mask;
- a flow step at small batches runs as ``flow_step.cu``: it takes little more than the time to read the weights.

``execution="native"`` computes in the type itself instead of rounding to its values: float16 and bfloat16 in all of
the model; float8 (e4m3) and int8 in the matrix products, in bfloat16 around them. Then weights have a scale per
output and activations one per token; a flow step at a small batch, where only the weights' bytes count, leaves
activations in bfloat16.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from headless_eval.errors import UserError
from headless_eval.policies.paligemma.batch import BatchEngine
from headless_eval.policies.paligemma.gemma import KeysValues, attention_mask, grouped_attention, rotation
from headless_eval.policies.pi0.config import Pi0Config
from headless_eval.policies.pi0.engine.fused.flow_step import CAPABILITY, FlowStep, Weight
from headless_eval.policies.pi0.engine.fused.kernels_attention import attend
from headless_eval.policies.pi0.engine.fused.kernels_int8 import scaled_product
from headless_eval.policies.pi0.engine.fused.kernels_rows import (
    LARGEST,
    gelu,
    norm,
    rotate_and_store,
    rounded,
)
from headless_eval.policies.pi0.engine.joined_weights import joined
from headless_eval.policies.pi0.layers import LayerTable
from headless_eval.policies.pi0.model import Pi0, drop_unused, flow_times
from headless_eval.quant.precision import Precision

NATIVE = {
    "float32": (torch.float32, None),
    "float16": (torch.float16, None),
    "bfloat16": (torch.bfloat16, None),
    "float8_e4m3": (torch.bfloat16, torch.float8_e4m3fn),
    "int8": (torch.bfloat16, torch.int8),
}
_GRAPHS = 32  # kept at a time, each of other shapes


def supports(model: nn.Module, precision: Precision, execution: str = "simulated") -> bool:
    """Return whether this engine can run the model so; no activation is rounded here but natively."""
    if not isinstance(model, Pi0) or model.device.type != "cuda" or not _fits(model.config):
        return False
    capability = torch.cuda.get_device_capability(model.device)
    if capability < (8, 0):
        return False
    if execution == "native":
        return precision.dtype in NATIVE and (capability >= (8, 9) or precision.dtype != "float8_e4m3")
    return not precision.activations


def _fits(config: Pi0Config) -> bool:
    """Return whether the kernels' blocks divide the model's sizes."""
    sizes = (config.gemma, config.expert)
    head = config.gemma.head_dim
    return (
        all(of.num_kv_heads == 1 and of.head_dim == head for of in sizes)
        and head >= 32
        and head & (head - 1) == 0
        and all(size % 16 == 0 for of in (config.gemma, config.siglip) for size in (of.width, of.mlp_dim))
    )


class Product:
    """A linear layer, or several of the same inputs in one; in eight bits where ``kind`` says so.

    Where the weights' type stays, the layers' own parameters become views of the one tensor, so that what changes
    them in place changes it too, and nothing is held twice.
    """

    def __init__(self, layers: Sequence[nn.Linear], dtype: torch.dtype, kind: torch.dtype | None):
        self.dtype, self.bias = dtype, None
        if layers[0].bias is not None:
            self.bias = torch.cat([layer.bias for layer in layers]).to(dtype)
        weights = [layer.weight for layer in layers]
        if kind is None and dtype == weights[0].dtype:
            values = joined(layers)
        else:
            values = torch.cat([weight.detach() for weight in weights])
        if kind is None:
            self.weight = Weight(values.to(dtype))
            return
        values = values.float()
        scales = values.abs().amax(dim=1).clamp(min=1e-30) / LARGEST[kind]
        values = values / scales[:, None]
        self.weight = Weight((values.round() if kind == torch.int8 else values).to(kind), scales)

    def __call__(self, x: Any) -> Tensor:
        """Map rows (M, in), ``Rounded`` ones if the weight is, to (M, out)."""
        values, scales = self.weight
        if scales is None:
            return F.linear(x, values, self.bias)
        rows, row_scales = x
        if rows.dtype == torch.int8:
            return scaled_product(rows, row_scales, values, scales, self.bias, self.dtype)
        return torch._scaled_mm(
            rows,
            values.t(),
            scale_a=row_scales,
            scale_b=scales[None],
            bias=self.bias,
            out_dtype=self.dtype,
            use_fast_accum=True,
        )

    def of_shift(self, shift: Tensor) -> Tensor:
        """Return what a norm's shift (steps, in) adds to the outputs, (steps, out) float32."""
        values, scales = self.weight
        out = F.linear(shift.float(), values.float())
        return out if scales is None else out * scales


class _GemmaLayer:
    """A layer's products and the weights of its norms; of a last prefix layer there is less."""

    def __init__(self, layer: Mapping[str, Any], dtype: torch.dtype, kind: torch.dtype | None):
        roles = ("query", "key", "value") if "query" in layer else ("key", "value")
        self.qkv = Product([layer[role] for role in roles], dtype, kind)
        if len(roles) == 3:
            self.out = Product([layer["out"]], dtype, kind)
            self.gate_up = Product([layer["gate"], layer["up"]], dtype, kind)
            self.down = Product([layer["down"]], dtype, kind)


class _VisionLayer:
    def __init__(self, layer: Mapping[str, Any], dtype: torch.dtype, kind: torch.dtype | None):
        self.norms = [(of.weight.float(), of.bias.float()) for of in (layer["norm1"], layer["norm2"])]
        self.qkv = Product([layer["query"], layer["key"], layer["value"]], dtype, kind)
        self.out = Product([layer["out"]], dtype, kind)
        self.fc1 = Product([layer["up"]], dtype, kind)
        self.fc2 = Product([layer["down"]], dtype, kind)


class _Steps:
    """What the norms of the expert do in each flow step: (steps, norms, width); one step stands for all in π0.

    ``biases`` are what a layer's two shifts become in the products after them, (steps, out) float32 each;
    ``action_bias`` is the last projection's own with what π0.5's last shift becomes in it, (steps, action dim).
    """

    def __init__(self, engine: "Fused", steps: int):
        model, dtype = engine.model, engine.dtype
        self.embeddings, modulations = model.condition(flow_times(steps, model.device))
        if modulations is None:
            norms = [layer[role] for layer in engine.table.towers["expert"] for role in ("norm1", "norm2")]
            norms.append(engine.table.single["expert_norm"])
            scale = torch.stack([1 + of.weight.float() for of in norms])[None]
            self.shift = None
            gate = torch.ones_like(scale)
        else:
            scale, shift, gate = (
                torch.stack([part[:, 0] for part in parts], dim=1) for parts in zip(*modulations, strict=True)
            )
            self.shift = shift.float()
        self.scale, self.gate = scale.to(dtype), gate.to(dtype)
        self.biases = [
            (self._of_shift(2 * index, layer.qkv), self._of_shift(2 * index + 1, layer.gate_up))
            for index, layer in enumerate(engine.expert)
        ]
        self.action_bias: Tensor | None = None
        if self.shift is not None:
            weight, bias = engine.action_out
            self.action_bias = F.linear(self.shift[:, -1], weight.float(), bias.float())

    def _of_shift(self, place: int, product: Product) -> Tensor:
        if self.shift is None:
            weight = product.weight.values
            return torch.zeros(1, len(weight), device=weight.device)
        return product.of_shift(self.shift[:, place])

    def at(self, step: int) -> int:
        return step % len(self.scale)


class _Graph:
    """An inference of one shape: its input buffers, its memory and, once captured, its graph."""

    def __init__(
        self, engine: "Fused", batch: int, views: int, size: tuple[int, int], slots: int, steps: int
    ):
        config, device = engine.config, engine.model.device
        head, depth = config.gemma.head_dim, config.gemma.depth
        self.batch, self.views, self.slots, self.steps = batch, views, slots, steps
        self.prefix = views * config.siglip.num_patches + slots
        self.tokens = config.action_horizon + (not config.pi05)
        dtype = engine.dtype
        self.images = torch.zeros(batch, views, 3, *size, dtype=dtype, device=device)
        self.prompt = torch.zeros(batch, slots, dtype=torch.long, device=device)
        self.lengths = torch.ones(batch, dtype=torch.int32, device=device)
        self.state = torch.zeros(batch, config.action_dim, dtype=dtype, device=device)
        self.noise = torch.zeros(batch, config.action_horizon, config.action_dim, device=device)
        stored = (2, depth, batch, self.prefix + self.tokens, head)
        self.keys, self.values = torch.zeros(stored, dtype=dtype, device=device)
        positions = torch.arange(self.prefix + self.tokens, device=device)[None]
        by = rotation(positions, head)
        self.table = torch.cat([by.cos[0, :, 0, : head // 2], by.sin[0, :, 0, head // 2 :]], -1).contiguous()
        self.few: FlowStep | None = None
        if engine.early and FlowStep.possible(config, dtype, self.prefix, batch):
            self.few = FlowStep(config, dtype, engine.kind, self.prefix, batch, device)
        self.parts: list[tuple[str, torch.cuda.CUDAGraph]] = []
        self.actions = self.noise


class Fused(BatchEngine):
    """The engine for one model in one precision; make it anew when the weights change.

    Args:
        model: on a CUDA device.
        precision: what it computes at; its weights are rounded already unless the execution is native.
        execution: ``"simulated"`` or ``"native"``.

    Raises:
        UserError: the device or the model's sizes do not allow it.
    """

    name = "fused"

    def __init__(self, model: Pi0, precision: Precision | None = None, execution: str = "simulated") -> None:
        precision = precision or Precision()
        if not supports(model, precision, execution):
            raise UserError(
                f"the fused engine cannot run {precision.name} ({execution}) with this model on "
                f"{model.device}: use --engine compiled or eager"
            )
        self.model, self.config = model, model.config
        self.dtype, self.kind = NATIVE[precision.dtype] if execution == "native" else (model.dtype, None)
        self.early = torch.cuda.get_device_capability(model.device) >= CAPABILITY
        self.table = LayerTable(model)
        self._graphs: dict[tuple[int, ...], _Graph] = {}
        self._steps: dict[int, _Steps] = {}
        self._pool = torch.cuda.graph_pool_handle()
        with torch.inference_mode():
            self._pack()

    def _pack(self) -> None:
        dtype, kind, towers, single = self.dtype, self.kind, self.table.towers, self.table.single
        self.language = [_GemmaLayer(layer, dtype, kind) for layer in towers["language"]]
        self.language_norms = [
            [1 + layer[role].weight.float() for role in ("norm1", "norm2") if role in layer]
            for layer in towers["language"]
        ]
        self.expert = [_GemmaLayer(layer, dtype, kind) for layer in towers["expert"]]
        self.vision = [_VisionLayer(layer, dtype, kind) for layer in towers["vision"]]
        last = single["vision_norm"]
        self.vision_norm = (last.weight.float(), last.bias.float())
        patches = single["patches"]
        weight = patches.weight.flatten(1).to(dtype)
        self.patches = F.pad(weight, (0, -weight.shape[1] % 8)), patches.bias.to(dtype)
        self.positions = single["positions"].weight.to(dtype)
        self.projector = _cast(single["projector"], dtype)
        self.action_in = _cast(single["action_in"], dtype)
        self.action_out = _cast(single["action_out"], dtype)
        if not self.config.pi05:
            self.state_in = _cast(single["state"], dtype)
            weight, bias = _cast(single["mix_in"], dtype)
            width = self.config.expert.width
            self.mix_in = (weight[:, :width].contiguous(), weight[:, width:].contiguous(), bias)
            self.mix_out = _cast(single["mix_out"], dtype)

    def close(self) -> None:
        """Free the graphs and what they hold."""
        self._graphs.clear()
        self._steps.clear()

    # Inference

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
        """Integrate the flow from noise to actions, as ``Pi0.sample_actions`` does.

        Raises:
            ValueError: a view is there for a part of the batch, or a prompt has a gap.
        """
        images, image_masks, tokens, token_mask = drop_unused(images, image_masks, tokens, token_mask)
        lengths = token_mask.sum(dim=1)
        slots = tokens.shape[1]
        whole = torch.arange(slots, device=token_mask.device) < lengths[:, None]
        if not all(bool(mask.all()) for mask in image_masks) or not torch.equal(whole, token_mask.bool()):
            raise ValueError(
                "the fused engine takes views that the whole batch has, and prompts without gaps"
            )
        views = len(images)
        height, width = images[0].shape[-2:] if views else (0, 0)
        graph = self._graph(len(tokens), views, (height, width), slots, num_steps or self.config.num_steps)
        if views:
            for index, image in enumerate(images):
                graph.images[:, index].copy_(image, non_blocking=True)
        graph.prompt.copy_(tokens, non_blocking=True)
        seen = views * self.config.siglip.num_patches
        graph.lengths.copy_((lengths + seen).to(torch.int32), non_blocking=True)
        graph.state.copy_(state, non_blocking=True)
        graph.noise.copy_(noise, non_blocking=True)
        if not graph.parts:
            self._capture(graph)
        for name, part in graph.parts:
            with torch.profiler.record_function(name):
                part.replay()
        return graph.actions.clone()

    def _graph(self, batch: int, views: int, size: tuple[int, int], slots: int, steps: int) -> _Graph:
        key = (batch, views, *size, slots, steps)
        if key not in self._graphs:
            if len(self._graphs) >= _GRAPHS:
                self._graphs.pop(next(iter(self._graphs)))
            self._graphs[key] = _Graph(self, batch, views, size, slots, steps)
        return self._graphs[key]

    def _capture(self, graph: _Graph) -> None:
        device = self.model.device
        with torch.cuda.device(device):
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                self.run(graph)
            torch.cuda.current_stream().wait_stream(stream)
            torch.cuda.synchronize()
            for name, work in (("prefix", self._prefix), ("flow steps", self._flow)):
                captured = torch.cuda.CUDAGraph()
                with torch.cuda.graph(captured, pool=self._pool):
                    graph.actions = work(graph)
                graph.parts.append((name, captured))

    def run(self, graph: _Graph) -> Tensor:
        """Compute the actions (B, H, A) of what is in the graph's buffers, kernel by kernel."""
        self._prefix(graph)
        return self._flow(graph)

    def _flow(self, graph: _Graph) -> Tensor:
        if graph.steps not in self._steps:
            self._steps[graph.steps] = _Steps(self, graph.steps)
        steps = self._steps[graph.steps]
        if graph.few is not None and steps.action_bias is not None:
            return self._few_steps(graph, graph.few, steps, steps.action_bias)
        x_t = graph.noise.clone()
        state = F.linear(graph.state, *self.state_in) if not self.config.pi05 else None
        for step in range(graph.steps):
            x = self._embed(x_t, state, steps, step)
            at = steps.at(step)
            if graph.few is not None:
                self._few(graph, graph.few, x, steps, at)
            else:
                self._many(graph, x, steps, at)
            shift = None if steps.shift is None else steps.shift[at, -1]
            y = norm(x, steps.scale[at, -1], shift)
            y = y.view(graph.batch, graph.tokens, -1)[:, -self.config.action_horizon :]
            x_t = x_t - F.linear(y, *self.action_out).float() / graph.steps
        return x_t

    def _few_steps(self, graph: _Graph, few: FlowStep, steps: _Steps, bias: Tensor) -> Tensor:
        """π0.5's steps, of which each also makes the next one's tokens."""
        action_in = self.action_in[0], self.action_in[1].float()
        x = self._embed(graph.noise, None, steps, 0)
        here, there = (graph.noise, x), (torch.empty_like(graph.noise), torch.empty_like(x))
        spare = (torch.empty_like(graph.noise), torch.empty_like(x))
        for step in range(graph.steps):
            self._few(graph, few, here[1], steps, step)
            few.finish(
                here[1],
                steps.scale[step, -1],
                bias[step],
                self.action_out[0],
                here[0],
                there[0],
                action_in,
                there[1],
                1.0 / graph.steps,
            )
            here, there = there, spare if step == 0 else here
        return here[0]

    # The prefix

    def _prefix(self, graph: _Graph) -> Tensor:
        """Fill the keys and values; return those of the keys."""
        config = self.config
        scale = config.gemma.width**0.5
        embedded = F.embedding(graph.prompt, self.table.single["words"].weight).to(self.dtype) * scale
        parts = [embedded]
        if graph.views:
            seen = F.linear(self._see(graph.images.flatten(0, 1)), *self.projector)
            parts.insert(0, seen.view(graph.batch, -1, config.gemma.width))
        x = torch.cat(parts, dim=1).flatten(0, 1)
        change = None
        for index, layer in enumerate(self.language):
            norms = self.language_norms[index]
            qkv = layer.qkv(norm(x, norms[0], change=change, kind=self.kind))
            keys, values = graph.keys[index], graph.values[index]
            rotate_and_store(qkv, keys, values, graph.table, graph.lengths, graph.prefix, 0)
            if index == len(self.language) - 1:
                break
            mixed = self._mix(graph, qkv, keys, values)
            change = layer.out(rounded(mixed, self.kind))
            hidden = layer.gate_up(norm(x, norms[1], change=change, kind=self.kind))
            change = layer.down(gelu(hidden, gated=True, kind=self.kind))
        return graph.keys

    def _mix(self, graph: _Graph, qkv: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        config = self.config.gemma
        if self.dtype != torch.float32:
            return attend(
                qkv, keys, values, graph.lengths, config.num_heads, graph.prefix, graph.prefix, own=False
            )
        # Without matrix units the library's kernel is the better one, mask and all.
        there = torch.arange(graph.prefix, device=qkv.device) < graph.lengths[:, None]
        mask = attention_mask(there[:, None], config, qkv.dtype)
        queries = qkv.view(graph.batch, graph.prefix, -1, config.head_dim)[:, :, : config.num_heads]
        stored = KeysValues(keys[:, None, : graph.prefix], values[:, None, : graph.prefix])
        return grouped_attention(queries, stored, mask).flatten(0, 1)

    def _see(self, images: Tensor) -> Tensor:
        """Map images (N, 3, h, w) to rows of patches (N * patches, width)."""
        config = self.config.siglip
        # A patch is a row, filled up to what the matrix unit likes to read.
        size = config.patch_size
        pixels = images.unflatten(3, (-1, size)).unflatten(2, (-1, size)).permute(0, 2, 4, 1, 3, 5)
        count = pixels.shape[1] * pixels.shape[2]
        rows = pixels.reshape(len(images) * count, -1)
        weight, bias = self.patches
        rows = F.linear(F.pad(rows, (0, weight.shape[1] - rows.shape[1])), weight, bias)
        x = (rows.view(len(images), count, -1) + self.positions[:count]).flatten(0, 1)
        change = None
        for layer in self.vision:
            (scale, shift), (scale2, shift2) = layer.norms
            qkv = layer.qkv(norm(x, scale, shift, change, layer=True, kind=self.kind))
            q, k, v = qkv.view(len(images), count, 3, config.num_heads, -1).permute(2, 0, 3, 1, 4)
            mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(len(x), -1)
            change = layer.out(rounded(mixed, self.kind))
            hidden = layer.fc1(norm(x, scale2, shift2, change, layer=True, kind=self.kind))
            change = layer.fc2(gelu(hidden, gated=False, kind=self.kind))
        return norm(x, *self.vision_norm, change, layer=True)

    # A flow step

    def _embed(self, x_t: Tensor, state: Tensor | None, steps: _Steps, step: int) -> Tensor:
        """Return the suffix's tokens (B * tokens, width)."""
        x = F.linear(x_t.to(self.dtype), *self.action_in)
        if state is not None:
            of_actions, of_time, bias = self.mix_in
            time = F.linear(steps.embeddings[step].to(self.dtype), of_time, bias)
            x = F.linear(F.silu(F.linear(x, of_actions) + time), *self.mix_out)
            x = torch.cat([state[:, None], x], dim=1)
        return x.flatten(0, 1).contiguous()

    def _few(self, graph: _Graph, few: FlowStep, x: Tensor, steps: _Steps, at: int) -> None:
        for index, layer in enumerate(self.expert):
            place = slice(2 * index, 2 * index + 2)
            of_attention, of_mlp = steps.biases[index]
            few.layer(
                x,
                steps.scale[at, place],
                (of_attention[at], of_mlp[at]),
                steps.gate[at, place],
                (layer.qkv.weight, layer.out.weight, layer.gate_up.weight, layer.down.weight),
                graph.keys[index],
                graph.values[index],
                graph.table,
                graph.lengths,
            )

    def _many(self, graph: _Graph, x: Tensor, steps: _Steps, at: int) -> None:
        heads, state = self.config.expert.num_heads, not self.config.pi05
        change: Tensor | None = None
        gate: Tensor | None = None
        for index, layer in enumerate(self.expert):
            keys, values = graph.keys[index], graph.values[index]
            qkv = layer.qkv(self._normed(x, steps, at, 2 * index, change, gate))
            rotate_and_store(qkv, keys, values, graph.table, graph.lengths, graph.tokens, graph.prefix)
            mixed = attend(
                qkv, keys, values, graph.lengths, heads, graph.tokens, graph.prefix, own=True, state=state
            )
            change, gate = layer.out(rounded(mixed, self.kind)), steps.gate[at, 2 * index]
            hidden = layer.gate_up(self._normed(x, steps, at, 2 * index + 1, change, gate))
            change = layer.down(gelu(hidden, gated=True, kind=self.kind))
            gate = steps.gate[at, 2 * index + 1]
        assert change is not None
        x.addcmul_(change, steps.gate[at, -2])

    def _normed(
        self, x: Tensor, steps: _Steps, at: int, place: int, change: Tensor | None, gate: Tensor | None
    ) -> Any:
        shift = None if steps.shift is None else steps.shift[at, place]
        return norm(x, steps.scale[at, place], shift, change, gate, kind=self.kind)


def _cast(layer: nn.Linear, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    return layer.weight.to(dtype), layer.bias.to(dtype)
