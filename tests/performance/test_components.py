"""Every module is in one component."""

import re

import torch
from performance_cases import CPU, random_model, tiny

from headless_eval.performance.components import COMPONENTS, component_of, components_of, layer_of


def test_every_module_is_in_one_component():
    import re

    for pi05 in (False, True):
        model = random_model(tiny(pi05), CPU, torch.float32)
        leaves = [name for name, module in model.named_modules() if name and not list(module.children())]
        assert all(component_of(name) != "other" for name in leaves)
        for name in leaves:
            assert sum(bool(re.search(of.pattern, name)) for of in COMPONENTS) == 1
    assert layer_of("expert.layers.11.mlp.up_proj") == 11
    assert layer_of("image_projector") is None
    (attention,) = (of for of in COMPONENTS if of.name == "expert attention")
    assert re.search(attention.layer_pattern(1), "expert.layers.1.self_attn.q_proj")
    assert not re.search(attention.layer_pattern(1), "expert.layers.11.self_attn.q_proj")


def test_other_models_have_a_component_for_each_part():
    names = [
        "",
        "encoder",
        "encoder.layers",
        "encoder.layers.0",
        "encoder.layers.0.mlp.1",
        "encoder.norm",
        "head",
    ]
    stack, rest, head = components_of(names)
    assert (stack.name, rest.name, head.name) == ("encoder.layers", "encoder", "head")
    assert [one.has_layers for one in (stack, rest, head)] == [True, False, False]
    found = {
        name: [one.name for one in (stack, rest, head) if re.search(one.pattern, name)] for name in names
    }
    assert found["encoder.layers.0.mlp.1"] == ["encoder.layers"]
    assert found["encoder.norm"] == found["encoder.layers"] == ["encoder"]
    assert re.search(stack.layer_pattern(0), "encoder.layers.0.mlp.1")
    assert [one.name for one in components_of(["0", "1"])] == ["layers"]
    assert components_of(["vision.layers.0.mlp"]) == COMPONENTS
