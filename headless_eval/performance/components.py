"""Components of a π0 model (vision, language, expert), by the names of its modules."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Component:
    """A component of the model: its name, and a regular expression that matches the names of its modules."""

    name: str
    pattern: str

    def layer_pattern(self, layer: int) -> str:
        """Return the regular expression of its modules in one layer."""
        return self.pattern.replace(r"\d+", str(layer))

    @property
    def has_layers(self) -> bool:
        """Return whether every layer of a transformer has this component."""
        return r"\d+" in self.pattern


def _transformer(name: str, prefix: str, norms: str) -> tuple[Component, ...]:
    layer = rf"^{prefix}\.layers\.\d+"
    return (
        Component(f"{name} attention", rf"{layer}\.self_attn(\.|$)"),
        Component(f"{name} MLP", rf"{layer}\.mlp(\.|$)"),
        Component(f"{name} norms", rf"({layer}(\.({norms})(\.|$)|$))"),
    )


_GEMMA_NORMS = "input_layernorm|post_attention_layernorm"
COMPONENTS = (
    Component("vision embedding", r"^vision\.(patch_embedding|position_embedding)$"),
    *_transformer("vision", "vision", "layer_norm1|layer_norm2"),
    Component("projector", r"^(vision\.post_layernorm|image_projector)$"),
    Component("language embedding", r"^language\.embed_tokens$"),
    *_transformer("language", "language", _GEMMA_NORMS),
    *_transformer("expert", "expert", _GEMMA_NORMS),
    Component("action projections", r"^(expert\.norm(\.dense)?|state_proj|action_\w+|time_mlp_\w+)$"),
)
"""Disjoint components. Norms include the residual additions of their layers; a last norm belongs to its reader."""

_PATTERNS = [(component, re.compile(component.pattern)) for component in COMPONENTS]


def component_of(module: str) -> str:
    """Return the name of a module's component; ``other`` for the model's own code."""
    return next((component.name for component, pattern in _PATTERNS if pattern.search(module)), "other")


def layer_of(module: str) -> int | None:
    """Return the index of the layer that a module is in."""
    found = re.search(r"\.layers\.(\d+)(\.|$)", module)
    return None if found is None else int(found[1])
