"""Weights of several layers in one memory."""

import torch

from headless_eval.policies.pi0.engine.joined_weights import joined


def test_joined_weights_are_views_of_one_memory(small):
    attention = small.expert.layers[0].self_attn
    layers = [attention.q_proj, attention.k_proj, attention.v_proj]
    before = torch.cat([layer.weight.detach() for layer in layers])
    whole = joined(layers)
    assert torch.equal(whole, before)
    assert joined(layers).data_ptr() == whole.data_ptr()
    with torch.no_grad():
        attention.k_proj.weight.fill_(7)
    assert (whole[len(attention.q_proj.weight) :][: len(attention.k_proj.weight)] == 7).all()
    alone = joined([attention.q_proj, attention.v_proj])
    assert torch.equal(alone, torch.cat([before[: len(attention.q_proj.weight)], attention.v_proj.weight]))
