"""Components of a model, by the names of its modules: of π0 (vision, language, expert), and of any other model."""

import re
from collections.abc import Iterable
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


def components_of(modules: Iterable[str]) -> tuple[Component, ...]:
    """Return the components of a model: π0's if it is built as π0 is, else a component for each of its own parts.

    An own part is a stack of layers (a module with numbered children), or what else a child of the model contains.

    Args:
        modules: the names of the model's modules.
    """
    names = [name for name in modules if name]
    if any(component_of(name) != "other" for name in names):
        return COMPONENTS
    # Numbered children within numbered children belong to the outermost stack.
    numbered = (re.match(r"(.*?)\.?\b\d+(\.|$)", name) for name in names)
    stacks = list(dict.fromkeys(found[1] for found in numbered if found))
    layers = [Component(stack or "layers", _in_stack(stack)) for stack in stacks]
    rest = []
    for child in dict.fromkeys(name.partition(".")[0] for name in names):
        if not child.isdigit() and child not in stacks:
            inside = [_in_stack(stack, "[0-9]+") for stack in stacks if stack.startswith(f"{child}.")]
            outside = f"(?!{'|'.join(inside)})" if inside else ""
            rest.append(Component(child, rf"{outside}^{re.escape(child)}(\.|$)"))
    return (*layers, *rest)


def _in_stack(stack: str, number: str = r"\d+") -> str:
    """Return the regular expression of the modules in a stack of layers; empty: the model itself is the stack."""
    return "^" + (re.escape(stack) + r"\." if stack else "") + number + r"(\.|$)"


def component_of(module: str, components: Iterable[Component] = COMPONENTS) -> str:
    """Return the name of a module's component; ``other`` for code outside the components."""
    return next((one.name for one in components if re.search(one.pattern, module)), "other")


def layer_of(module: str) -> int | None:
    """Return the index of the layer that a module is in."""
    found = re.search(r"\.layers\.(\d+)(\.|$)", module)
    return None if found is None else int(found[1])
