"""The compiled engine on a CPU: a whole inference in C, built once by the machine's own compiler.

A small model spends half of its time on a CPU between its operations. Here they are one call, which also lets go
of Python's lock, so that two inferences really run side by side. Weights are read where the model keeps them.
"""

import ctypes
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from headless_eval.policies.paligemma.batch import BatchEngine
from headless_eval.policies.paligemma.gemma import rotation
from headless_eval.policies.pi0.engine.cpu import interface
from headless_eval.policies.pi0.engine.cpu.library import library
from headless_eval.policies.pi0.engine.joined_weights import joined
from headless_eval.policies.pi0.layers import SINGLE, LayerTable, layer_names
from headless_eval.policies.pi0.model import Pi0, drop_unused, flow_times
from headless_eval.quant import Handle
from headless_eval.quant.dtypes import per_channel
from headless_eval.quant.precision import Precision

_KEPT = 64


def why_not(model: Pi0, precision: Precision) -> str | None:
    """Return why the engine cannot compute this model, on a CPU, in this precision; None if it can."""
    if precision.activations and precision.dtype not in interface.DTYPES:
        return f"it does not round activations to {precision.dtype}"
    if {parameter.dtype for parameter in model.parameters()} != {torch.float32}:
        return "on a CPU it computes weights of float32 alone"
    try:
        library()
    except OSError as error:
        return str(error)
    return None


def round_(x: Tensor, dtype: str) -> None:
    """Round a matrix of float32 in place as the engine does outputs, all with one scale if there is one."""
    rows, cols = x.shape
    library().headless_eval_round(1 + interface.DTYPES.index(dtype), x.data_ptr(), x.stride(0), rows, cols)


class CpuEngine(BatchEngine):
    """Samples actions in C, on the calling thread alone.

    A row of a batch depends on no other, and on the batch's size neither.

    Args:
        model: of float32, on a CPU, in the precision.
        precision: that precision.
        handle: of the precision; it is told which outputs have been rounded.

    Raises:
        OSError: the C code cannot be built here; see ``why_not``.
    """

    name = "compiled"

    def __init__(self, model: Pi0, precision: Precision, handle: Handle | None = None) -> None:
        self._infer = library().headless_eval_infer
        self.model, self.config = model, model.config
        self._handle = handle
        self._kept: list[Any] = []  # what C points to
        self._local = threading.local()
        self._tables: dict[bytes, Tensor] = {}
        self._conditions: dict[int, tuple[Tensor, Tensor | None]] = {}
        self._leaves: list[str] = []
        hooked = frozenset(handle.hooked) if handle is not None and precision.activations else frozenset()
        with torch.no_grad():
            self._model = self._describe()
        self._rounds = np.array([name in hooked for name in self._leaves], np.uint8)
        self._fired = np.zeros(len(self._leaves), np.uint8)
        self._noted = not self._rounds.any()
        self._model.rounds, self._model.fired = self._rounds.ctypes.data, self._fired.ctypes.data
        if self._rounds.any():
            self._model.rounding = 1 + interface.DTYPES.index(precision.dtype)
            self._model.by_token = per_channel(precision.dtype)

    def close(self) -> None:
        """Do nothing: what it keeps goes with it."""

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
        """Integrate the flow from noise to actions, as ``Pi0.sample_actions`` does."""
        config = self.config
        images, image_masks, tokens, token_mask = drop_unused(images, image_masks, tokens, token_mask)
        batch, views, slots, steps = len(tokens), len(images), tokens.shape[1], num_steps or config.num_steps
        patches = config.siglip.num_patches
        mask = torch.cat([*(m[:, None].expand(-1, patches) for m in image_masks), token_mask], dim=1)
        times, modulations = self._condition(steps)
        places = mask.shape[1] + config.action_horizon + (not config.pi05)
        numbers, sizes = self._room(batch, views, slots, places)
        scratch = getattr(self._local, "scratch", None)
        if scratch is None or len(scratch) < numbers:
            scratch = self._local.scratch = torch.empty(numbers, dtype=torch.float32)
        stored = config.gemma.depth * batch * config.gemma.num_kv_heads * config.gemma.head_dim * places
        actions = noise.to(torch.float32, copy=True).contiguous()
        seen = torch.stack(list(images), dim=1).float().contiguous() if images else actions
        side = config.siglip.image_size
        # C would read beyond what is there.
        _check("images", seen, (batch, views, 3, side, side) if views else actions.shape)
        _check("noise", actions, (batch, *self.model.noise_shape))
        _check("state", state, (batch, config.action_dim))
        _check("prompt's mask", mask, (batch, views * patches + slots))
        if int(tokens.min()) < 0 or int(tokens.max()) >= config.vocab_size:
            raise ValueError(f"the prompt's tokens are not in 0..{config.vocab_size - 1}")
        given = [
            seen,
            state.float().contiguous(),
            tokens.to(torch.int64).contiguous(),
            mask.to(torch.bool).contiguous(),
            self._rotations(mask),
            times,
        ]
        inference = interface.Inference(
            batch,
            views,
            slots,
            steps,
            *(tensor.data_ptr() for tensor in given),
            None if modulations is None else modulations.data_ptr(),
            actions.data_ptr(),
            scratch.data_ptr(),
            scratch[stored:].data_ptr(),
            scratch[2 * stored :].data_ptr(),
        )
        self._infer(ctypes.byref(self._model), ctypes.byref(inference), *sizes)
        if not self._noted:
            self._note()
        return actions

    def _note(self) -> None:
        assert self._handle is not None
        self._handle.note(name for name, fired in zip(self._leaves, self._fired, strict=True) if fired)
        self._noted = bool((self._fired >= self._rounds).all())

    def _condition(self, steps: int) -> tuple[Tensor, Tensor | None]:
        """Return embedded flow times (steps, W) and π0.5's modulations (norms, steps, 3, W)."""
        if steps not in self._conditions:
            embedding, modulations = self.model.condition(flow_times(steps, torch.device("cpu")))
            rows = None
            if modulations is not None:
                rows = torch.stack([torch.cat(modulation, dim=1) for modulation in modulations])
            self._conditions[steps] = (embedding[:, 0].contiguous(), rows)
        return self._conditions[steps]

    def _rotations(self, mask: Tensor) -> Tensor:
        """Return cosines and signed sines (B, L + S, 2, head size) for the prefix's mask (B, L)."""
        key = bytes(mask.shape) + mask.numpy().tobytes() if max(mask.shape) < 256 else None
        if key is not None and key in self._tables:
            return self._tables[key]
        suffix = torch.arange(self.config.action_horizon + (not self.config.pi05))
        positions = torch.cat([mask.cumsum(dim=1) - 1, mask.sum(dim=1, keepdim=True) + suffix], dim=1)
        by = rotation(positions, self.config.gemma.head_dim)
        table = torch.cat([by.cos, by.sin], dim=2).contiguous()
        if key is not None:
            if len(self._tables) >= _KEPT:
                self._tables.clear()
            self._tables[key] = table
        return table

    def _room(self, batch: int, views: int, slots: int, places: int) -> tuple[int, tuple[int, int, int]]:
        """Return how many numbers the scratch holds, and those of its parts."""
        c = self.config
        heads = c.gemma.num_heads * c.gemma.head_dim
        qkv = heads + 2 * c.gemma.num_kv_heads * c.gemma.head_dim
        seen = batch * views * c.siglip.num_patches
        prefix = seen + batch * slots
        suffix = batch * (c.action_horizon + (not c.pi05))
        patches = max(c.siglip.num_patches, 1)
        wide = max(
            max(seen, patches) * c.siglip.width,
            prefix * max(c.gemma.width, heads),
            suffix * max(c.expert.width, heads),
        )
        big = max(
            seen * max(3 * c.siglip.width, c.siglip.mlp_dim, 3 * c.siglip.patch_size**2),
            prefix * max(c.gemma.width, qkv, 2 * c.gemma.mlp_dim),
            suffix * max(2 * c.expert.width, qkv, 2 * c.expert.mlp_dim, c.action_dim),
        )
        scores = max(patches * (patches + c.siglip.width), places * places)
        stored = c.gemma.depth * batch * c.gemma.num_kv_heads * c.gemma.head_dim * places
        return 2 * stored + 3 * wide + big + scores + batch * c.expert.width, (wide, big, scores)

    # What C is told of the model

    def _at(self, tensor: Tensor) -> int:
        tensor = tensor.detach().contiguous()
        self._kept.append(tensor)
        return tensor.data_ptr()

    def _linear(self, *modules: nn.Linear) -> Any:
        weight = joined(modules)
        self._kept.append(weight)
        biases: list[Tensor] = [module.bias for module in modules if module.bias is not None]
        bias = self._at(torch.cat(biases)) if biases else None
        return interface.Linear(weight.data_ptr(), bias, weight.shape[1], weight.shape[0])

    def _numbered(self, names: Iterable[str]) -> int:
        start = len(self._leaves)
        self._leaves += names
        return start

    def _array(self, kind: Any, layers: list[Any]) -> int:
        array = (kind * len(layers))(*layers)
        self._kept.append(array)
        return ctypes.addressof(array)

    def _describe(self) -> Any:
        table = LayerTable(self.model)
        c, s, single = self.config, self.config.siglip, table.single
        it = interface.Model(
            pi05=c.pi05,
            depth=c.gemma.depth,
            horizon=c.action_horizon,
            action_dim=c.action_dim,
            vision_depth=s.depth,
            vision_width=s.width,
            vision_heads=s.num_heads,
            vision_mlp=s.mlp_dim,
            patch=s.patch_size,
            grid=s.image_size // s.patch_size,
            embed_scale=c.gemma.width**0.5,
        )
        for name, of in (("gemma", c.gemma), ("expert", c.expert)):
            setattr(
                it, name, interface.Gemma(of.width, of.mlp_dim, of.num_heads, of.num_kv_heads, of.head_dim)
            )
        it.vision = self._array(
            interface.VisionLayer,
            [self._vision_layer(index, layer) for index, layer in enumerate(table.towers["vision"])],
        )
        for name, tower in (("language", "language"), ("actions", "expert")):
            built = [self._gemma_layer(tower, *numbered) for numbered in enumerate(table.towers[tower])]
            setattr(it, name, self._array(interface.GemmaLayer, built))
        patches = single["patches"]
        weight = patches.weight.flatten(1).t()
        it.patches = interface.Linear(self._at(weight), self._at(patches.bias), *weight.shape)
        for role in ("projector", "action_in", "action_out"):
            setattr(it, role, self._linear(single[role]))
        if not c.pi05:
            for role in ("state", "mix_in", "mix_out"):
                setattr(it, role, self._linear(single[role]))
            it.expert_norm = self._at(single["expert_norm"].weight)
        it.positions = self._at(single["positions"].weight)
        it.vision_norm = self._at(single["vision_norm"].weight)
        it.vision_shift = self._at(single["vision_norm"].bias)
        it.words = self._at(single["words"].weight)
        start = self._numbered(SINGLE.values())
        it.leaves[:] = range(start, start + len(SINGLE))
        return it

    def _vision_layer(self, index: int, layer: Mapping[str, Any]) -> Any:
        built = interface.VisionLayer(leaf=self._numbered(layer_names("vision", index).values()))
        built.norm1, built.shift1 = self._at(layer["norm1"].weight), self._at(layer["norm1"].bias)
        built.norm2, built.shift2 = self._at(layer["norm2"].weight), self._at(layer["norm2"].bias)
        built.qkv = self._linear(layer["query"], layer["key"], layer["value"])
        for role in ("out", "up", "down"):
            setattr(built, role, self._linear(layer[role]))
        return built

    def _gemma_layer(self, tower: str, index: int, layer: Mapping[str, Any]) -> Any:
        built = interface.GemmaLayer(leaf=self._numbered(layer_names(tower, index).values()))
        adaptive = "modulation1" in layer
        if not adaptive:
            built.norm1 = self._at(layer["norm1"].weight)
        if "query" not in layer:
            built.qkv = self._linear(layer["key"], layer["value"])
            return built
        if not adaptive:
            built.norm2 = self._at(layer["norm2"].weight)
        built.qkv, built.out = (
            self._linear(layer["query"], layer["key"], layer["value"]),
            self._linear(layer["out"]),
        )
        built.gate_up = self._linear(layer["gate"], layer["up"])
        built.down = self._linear(layer["down"])
        return built


def _check(what: str, tensor: Tensor, shape: Sequence[int]) -> None:
    if tensor.shape != tuple(shape):
        raise ValueError(f"the {what} have shape {tuple(tensor.shape)}, not {tuple(shape)}")
