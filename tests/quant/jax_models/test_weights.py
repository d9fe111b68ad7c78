import numpy as np
import pytest

pytest.importorskip("flax", reason="the extra jax is not installed")

import jax.numpy as jnp
from flax import nnx
from jax_policies import LikeOpenpi, Net

from headless_eval.quant.jax_models.weights import Axes, closures, find_sources


class Holds:
    def __init__(self, tree):
        self.params = tree


@pytest.mark.parametrize(
    ("path", "shape", "axes"),
    [
        ("Dense_0.kernel", (4, 8), Axes(0, (-2,))),
        ("conv.kernel", (3, 3, 4, 8), Axes(0, (-4, -3, -2))),
        ("embed.embedding", (9, 4), Axes(0, (-1,))),
        ("attention.query.kernel", (4, 2, 3), Axes(0, (-3,))),
        ("attention.out.kernel", (2, 3, 4), Axes(0, (-3, -2))),
        ("llm.layers.attn.q_einsum.w", (5, 2, 4, 3), Axes(1, (-2,))),
        ("llm.layers.attn.kv_einsum_1.w", (5, 2, 1, 4, 3), Axes(1, (-2,))),
        ("llm.layers.attn.attn_vec_einsum.w", (5, 2, 3, 4), Axes(1, (-3, -2))),
        ("llm.layers.mlp.gating_einsum", (5, 2, 4, 8), Axes(1, (-2,))),
        ("img.Transformer.encoderblock.LayerNorm_0.bias", (5, 4), Axes(1, None)),
        ("strange.matrix", (4, 8), Axes(0, None)),
    ],
)
def test_axes_by_name(path, shape, axes):
    tree = jnp.ones(shape)
    for part in reversed(path.split(".")):
        tree = {part: tree}
    (source,) = find_sources(Holds({"params": tree}))
    (weight,) = source.weights()
    assert (weight.name, weight.axes) == (path, axes)


def test_a_stacked_bias_has_a_scale_a_layer():
    assert Axes(1, None).kept(2, "int8") == (0,)
    assert Axes(1, (-2,)).kept(3, "int8") == (0, 2)
    assert Axes(1, (-2,)).kept(3, "uint32") == (0,)
    assert Axes(0, None).kept(2, "int8") is None
    assert Axes(0, None).kept(2, "uint32") == ()


def test_modules_tell_their_axes():
    (source,) = find_sources(LikeOpenpi())
    axes = {weight.name: weight.axes for weight in source.weights()}
    assert axes["conv.kernel"] == Axes(0, (-4, -3, -2))
    assert axes["blocks.0.up.kernel"] == Axes(0, (-2,))
    assert axes["embed.embedding"] == Axes(0, (-1,))
    assert axes["blocks.0.norm.scale"] == Axes(0, ())


def test_attributes_named_by_the_policy_are_weights():
    holds = Holds({"kernel": jnp.ones((2, 2))})
    holds.table = jnp.ones((2, 2))
    holds.jax_weights = ("table",)
    names = {weight.name for source in find_sources(holds) for weight in source.weights()}
    assert names == {"table", "params.kernel"}


def test_closures_are_found_within_closures():
    kept = [cell.cell_contents for cell in closures(LikeOpenpi())]
    assert any(isinstance(one, nnx.GraphDef) for one in kept)
    assert any(isinstance(one, nnx.State) for one in kept)


def test_weights_round_as_torchs():
    net = Net()
    net.head.kernel.set_value(jnp.asarray(np.linspace(-1, 1, 64, dtype=np.float32).reshape(8, 8)))
    holds = LikeOpenpi()
    holds._model = net
    (source,) = find_sources(holds)
    weight = next(one for one in source.weights() if one.name == "head.kernel")
    rounded = np.asarray(weight.rounded("int4"))
    steps = rounded / (abs(np.asarray(weight.array)).max(0) / 7)
    np.testing.assert_allclose(steps, steps.round(), atol=1e-5)
