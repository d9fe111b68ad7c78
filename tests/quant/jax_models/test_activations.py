import pytest

pytest.importorskip("flax", reason="the extra jax is not installed")

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax_policies import Net

from headless_eval.quant import Precision
from headless_eval.quant.jax_models.activations import Hooks, Rounding, leaves_of, output_axes


def test_leaves_are_modules_without_children():
    assert set(leaves_of(Net())) == {
        *("conv", "embed", "head", "unused"),
        *(f"blocks.0.{name}" for name in ("norm", "up", "down")),
    }


def test_axes_are_torchs():
    assert output_axes(3, "int8") == (0, 1)
    assert output_axes(3, "uint32") == (0,)
    assert output_axes(1, "int8") == output_axes(1, "uint32") == ()


def test_outputs_are_rounded_in_a_precision_alone():
    module = nnx.Linear(3, 4, rngs=nnx.Rngs(0))
    x = jnp.asarray(np.random.default_rng(0).standard_normal((2, 3), np.float32))
    then = np.asarray(module(x))
    hooks = Hooks(module, "")
    rounding = Rounding(Precision("int8", "activations_only"), "test")
    with rounding.active():
        now = np.asarray(module(x))
    assert rounding.fired == {""}
    assert 0 < abs(now - then).max() <= abs(then).max() / 254 * 1.01
    assert (np.asarray(module(x)) == then).all()
    hooks.remove()
