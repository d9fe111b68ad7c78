import numpy as np
import pytest
import torch

pytest.importorskip("flax", reason="the extra jax is not installed")

import jax
import jax.numpy as jnp
from flax import linen, nnx
from flax.nnx import bridge
from jax_policies import (
    Captured,
    LikeOpenpi,
    Linen,
    Net,
    NnxJit,
    Policy,
    TorchPolicy,
    observations,
)

from headless_eval.errors import UserError
from headless_eval.local_policy import LocalPolicy
from headless_eval.quant import DTYPES, MODES, Precision, Scope


def actions(local):
    obs, noise = observations()
    return np.stack([reply["actions"] for reply in local.infer_batch(obs, noise)])


FORMS = [NnxJit, Captured, LikeOpenpi, Linen]


@pytest.mark.parametrize("form", FORMS)
def test_a_precision_computes_what_torch_computes(form):
    with LocalPolicy(form(), "jax") as policy, LocalPolicy(TorchPolicy(), "torch") as twin:
        before, fingerprint = actions(policy), policy.fingerprint()
        np.testing.assert_allclose(before, actions(twin), atol=2e-6)
        for mode in MODES:
            for local in (policy, twin):
                local.set_precision(Precision("int8", mode))
            now = actions(policy)
            assert abs(now - before).max() > 0.005
            np.testing.assert_allclose(now, actions(twin), atol=2e-6)
            facts = policy.describe_precision()
            assert facts["fired"] == (0 if mode == "weights_only" else 6)
            assert facts["unfired"] == (["unused"] if mode != "weights_only" and form is not Linen else [])
            assert policy.fingerprint() == fingerprint
        policy.set_precision("float32")
        assert actions(policy).tobytes() == before.tobytes()


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [dtype for dtype in DTYPES if dtype != "float32"])
def test_every_data_type(dtype):
    """A last bit of the models' own arithmetic may decide which value of a narrow type is near: hence a median."""
    with LocalPolicy(NnxJit(), "jax") as policy, LocalPolicy(TorchPolicy(), "torch") as twin:
        for mode in MODES:
            for local in (policy, twin):
                local.set_precision(Precision(dtype, mode))
            assert np.median(abs(actions(policy) - actions(twin))) < 0.02, mode


def test_what_was_replaced_comes_back():
    policy = LikeOpenpi()
    model, function = policy._model, policy._sample_actions
    arrays = [leaf for leaf in jax.tree.leaves(nnx.state(model, nnx.Param))]
    cells = [cell.cell_contents for cell in function.__closure__]
    structure = nnx.split(model)[0]
    with LocalPolicy(policy, "jax") as local:
        local.set_precision("int4_both")
        assert policy._model.head.kernel.get_value() is not arrays
        actions(local)
    assert policy._model is model
    assert policy._sample_actions is function
    assert all(a is b for a, b in zip(jax.tree.leaves(nnx.state(model, nnx.Param)), arrays, strict=True))
    assert all(cell.cell_contents is kept for cell, kept in zip(function.__closure__, cells, strict=True))
    assert nnx.split(model)[0] == structure


def test_scopes_by_name():
    with LocalPolicy(NnxJit(), "jax") as policy:
        policy.set_precision(Precision("int8", "both", Scope(r"^blocks\.0\.up$")))
        actions(policy)
        facts = policy.describe_precision()
        assert (facts["parameters"], facts["hooked"], facts["fired"]) == (8 * 16 + 16, 1, 1)
        with pytest.raises(
            UserError, match="matches no floating-point weight of NnxJit: widen it; names begin with"
        ):
            policy.set_precision(Precision("int8", "both", Scope("nowhere")))
        assert policy.precision == Precision()


class Stack(linen.Module):
    @linen.compact
    def __call__(self, x):
        class Layer(linen.Module):
            @linen.compact
            def __call__(self, x, _):
                return x + linen.Dense(8, name="up")(x), None

        layers = linen.scan(Layer, variable_axes={"params": 0}, split_rngs={"params": True}, length=3)
        return layers(name="layers")(x, None)[0]


class Stacked(Policy):
    """Layers in a scan, in a Linen module within an NNX module, as openpi's models are."""

    def __init__(self):
        self.model = bridge.ToNNX(Stack(), rngs=nnx.Rngs(0)).lazy_init(jnp.ones((1, 4, 8)))
        self._act = nnx.jit(lambda model, noise: model(noise))

    def act(self, images, noise):
        return self._act(self.model, noise)


@pytest.mark.parametrize("dtype", ["int8", "uint32"])
def test_layers_of_a_scan_have_scales_of_their_own(dtype):
    policy = Stacked()
    state = nnx.state(policy.model, nnx.Param)
    kernel = np.array(jax.tree.leaves(state)[1])
    bias = np.linspace(-1, 2, 24, dtype=np.float32).reshape(3, 8)
    policy.model.layers["up"]["bias"].set_value(jnp.asarray(bias))
    assert kernel.shape == (3, 8, 8)
    twin = torch.nn.ModuleList(torch.nn.Linear(8, 8) for _ in range(3))
    for layer, weight, values in zip(twin, kernel, bias, strict=True):
        layer.weight.data, layer.bias.data = (
            torch.from_numpy(weight.T.copy()),
            torch.from_numpy(values.copy()),
        )

    class Twin(Policy):
        def __init__(self):
            self.model = twin

        def act(self, images, noise):
            x = torch.from_numpy(noise)
            for layer in self.model:
                x = x + layer(x)
            return x

    with LocalPolicy(policy, "jax") as local, LocalPolicy(Twin(), "torch") as other:
        for one in (local, other):
            one.set_precision(Precision(dtype, "both"))
        np.testing.assert_allclose(actions(local), actions(other), atol=1e-5)
        assert local.describe_precision()["fired"] == 1


class Holds(Policy):
    """A policy with other attributes, computed without modules."""

    def __init__(self, **attributes):
        vars(self).update(attributes)
        self.act = jax.jit(lambda images, noise: noise @ jnp.ones((8, 8)))


def test_what_cannot_be_rounded_is_refused_by_name():
    weights = {"matrix": jnp.ones((8, 8))}
    with (
        LocalPolicy(Holds(table=weights), "a") as policy,
        pytest.raises(UserError, match="JAX arrays in table"),
    ):
        policy.set_precision("int8_weights_only")
    with LocalPolicy(Holds(params=weights), "b") as policy:
        with pytest.raises(UserError, match=r"which axes of matrix \(8, 8\) are these is not known"):
            policy.set_precision("int8_weights_only")
        policy.set_precision("bfloat16_activations_only")
        with pytest.raises(UserError, match="reached none of the 1 modules"):
            actions(policy)
        with pytest.raises(UserError, match="rtn_w4a8 is for torch models"):
            policy.set_precision("rtn_w4a8")
    holds = Holds(params=weights)
    holds.weight_axes = {"matrix": (-2,)}
    with LocalPolicy(holds, "c") as policy:
        policy.set_precision("int8_weights_only")
        assert policy.describe_precision()["parameters"] == 64
    with pytest.raises(UserError, match="has torch modules and JAX arrays"):
        LocalPolicy(Holds(params=weights, model=torch.nn.Linear(2, 2)), "d")


class Mapped(Policy):
    def __init__(self):
        self.model = Net()
        self._act = nnx.jit(lambda model, noise: jax.vmap(model.head)(noise))

    def act(self, images, noise):
        return self._act(self.model, noise)


def test_modules_under_vmap_are_refused():
    with LocalPolicy(Mapped(), "mapped") as policy:
        policy.set_precision("int8_activations_only")
        with pytest.raises(UserError, match=r"outputs of head of Mapped cannot be rounded: .* jax\.vmap"):
            actions(policy)
