"""The table of layers names every module that computes, once."""

import pytest
import torch
from pi0_cases import SMALL, SMALL_PI05

from headless_eval.policies.pi0.layers import LayerTable, layer_names, single_names
from headless_eval.policies.pi0.model import Pi0


@pytest.mark.parametrize("config", [SMALL, SMALL_PI05], ids=["pi0", "pi05"])
def test_every_module_without_children_has_one_role(config):
    with torch.device("meta"):
        model = Pi0(config)
    table = LayerTable(model)
    leaves = {name for name, module in model.named_modules() if not list(module.children())}
    names = [row.name for row in table.rows]
    assert len(names) == len(set(names))
    # Beside these, only the norms around π0.5's modulations.
    assert leaves <= set(names)
    assert all("norm" in name for name in set(names) - leaves)
    assert all(model.get_submodule(row.name) is row.module for row in table.rows)


def test_layers_are_found_by_tower_index_and_role(small):
    table = LayerTable(small)
    assert [len(table.towers[tower]) for tower in ("vision", "language", "expert")] == [
        small.config.siglip.depth,
        small.config.gemma.depth,
        small.config.expert.depth,
    ]
    assert table.towers["expert"][1]["query"] is small.expert.layers[1].self_attn.q_proj
    assert set(table.towers["language"][-1]) == {"norm1", "key", "value"}
    assert layer_names("vision", 1)["up"] == "vision.layers.1.mlp.fc1"
    assert single_names("words") == {"words": "language.embed_tokens"}
    assert table.single["words"] is small.language.embed_tokens
