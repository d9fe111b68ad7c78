"""Table of the modules of a π0 model by role, from which engines take weights and names."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from headless_eval.policies.pi0.model import Pi0

SIGLIP_LAYER = {
    "norm1": "layer_norm1",
    "query": "self_attn.q_proj",
    "key": "self_attn.k_proj",
    "value": "self_attn.v_proj",
    "out": "self_attn.out_proj",
    "norm2": "layer_norm2",
    "up": "mlp.fc1",
    "activation": "mlp.act_fn",
    "down": "mlp.fc2",
}
"""Roles of the modules in a layer of the vision tower, and their names below it."""

GEMMA_LAYER = {
    "norm1": "input_layernorm",
    "query": "self_attn.q_proj",
    "key": "self_attn.k_proj",
    "value": "self_attn.v_proj",
    "out": "self_attn.o_proj",
    "norm2": "post_attention_layernorm",
    "gate": "mlp.gate_proj",
    "up": "mlp.up_proj",
    "activation": "mlp.act_fn",
    "down": "mlp.down_proj",
}
"""Roles of the modules in a layer of the language model or the action expert, and their names below it."""

SINGLE = {
    "patches": "vision.patch_embedding",
    "positions": "vision.position_embedding",
    "vision_norm": "vision.post_layernorm",
    "projector": "image_projector",
    "words": "language.embed_tokens",
    "state": "state_proj",
    "action_in": "action_in_proj",
    "mix_in": "action_time_mlp_in",
    "mix_out": "action_time_mlp_out",
    "expert_norm": "expert.norm",
    "action_out": "action_out_proj",
}
"""Roles of the modules that are in no layer, and their names."""

TOWERS = {"vision": SIGLIP_LAYER, "language": GEMMA_LAYER, "expert": GEMMA_LAYER}

# The modules that turn flow times into π0.5's scales, shifts and gates; always computed by the modules themselves.
_MODULATION = {
    "time_in": "time_mlp_in",
    "time_out": "time_mlp_out",
    "expert_modulation": "expert.norm.dense",
}
_LAYER_MODULATION = {"modulation1": "input_layernorm.dense", "modulation2": "post_attention_layernorm.dense"}


@dataclass(frozen=True)
class Layer:
    """One module of the model.

    Args:
        tower: one of ``TOWERS``; None for a module that is in no layer.
        index: index of the layer within its tower; None for a module that is in no layer.
        role: the module's function in the layer: a key of ``SIGLIP_LAYER``, ``GEMMA_LAYER`` or ``SINGLE``, or a
            modulation of π0.5.
        name: the module's dotted name in the model.
        module: the module.
    """

    tower: str | None
    index: int | None
    role: str
    name: str
    module: nn.Module


class LayerTable:
    """The modules of a model by role.

    Attributes:
        rows: all modules with a role: first those in no layer, then tower by tower and layer by layer.
        single: the modules that are in no layer, by role.
        towers: the modules of each layer by role, by tower and index of the layer. The language model's last layer has
            no queries, attention output and MLP, because only its keys and values are used.
    """

    def __init__(self, model: Pi0) -> None:
        self.rows = tuple(_walk(model))
        self.single: dict[str, Any] = {row.role: row.module for row in self.rows if row.tower is None}
        self.towers: dict[str, list[dict[str, Any]]] = {tower: [] for tower in TOWERS}
        for row in self.rows:
            if row.tower is None or row.index is None:
                continue
            layers = self.towers[row.tower]
            if row.index == len(layers):
                layers.append({})
            layers[row.index][row.role] = row.module


def layer_names(tower: str, index: int) -> dict[str, str]:
    """Return the dotted names of the modules in one layer, by role."""
    return {role: f"{tower}.layers.{index}.{name}" for role, name in TOWERS[tower].items()}


def single_names(*roles: str) -> dict[str, str]:
    """Return the dotted names of the modules that are in no layer, by role."""
    return {role: SINGLE[role] for role in roles}


def _walk(model: Pi0) -> Iterator[Layer]:
    modules = dict(model.named_modules())

    def found(tower: str | None, index: int | None, names: Mapping[str, str]) -> Iterator[Layer]:
        for role, name in names.items():
            if name in modules:
                yield Layer(tower, index, role, name, modules[name])

    yield from found(None, None, SINGLE | _MODULATION)
    for tower in TOWERS:
        layers: Any = modules[f"{tower}.layers"]
        for index in range(len(layers)):
            extra = {role: f"{tower}.layers.{index}.{name}" for role, name in _LAYER_MODULATION.items()}
            yield from found(tower, index, layer_names(tower, index) | extra)
