import pytest
import torch
from quant_cases import LOSSY, ToyModel, assert_same_state, inputs, same_bits, snapshot

from headless_eval.contracts.robots import ROBOTS
from headless_eval.errors import UserError
from headless_eval.local_policy import load_policy
from headless_eval.quant import DTYPES, Precision, casts, fake_quantize, quantize_
from headless_eval.quant.dtypes import DType


@pytest.fixture(params=["none", "tensor", "channel"])
def ternary(request, monkeypatch):
    """The name of a data type that nothing but a line of the table and a cast know."""
    monkeypatch.setitem(
        DTYPES, "ternary", DType(2, "-1, 0 or 1 times a scale", request.param, benchmark=False)
    )
    monkeypatch.setattr(casts, "_CASTS", dict(casts._CASTS))

    @casts.cast("ternary")
    def _ternary(x):
        if request.param == "none":
            return x.clamp(-1, 1).round()
        scale = x.abs().amax(dim=1, keepdim=True)
        return (x / scale.clamp(min=1e-38)).round() * scale

    return "ternary"


def test_every_data_type_has_a_cast():
    assert set(casts._CASTS) == set(LOSSY)


def test_a_new_data_type_rounds_weights_and_activations(ternary):
    model, outputs = ToyModel(), []
    state = snapshot(model)
    per_channel = DTYPES[ternary].scale == "channel"
    with quantize_(model, Precision(ternary, "both")) as handle:
        for name in ("query", "blocks.0.up.weight", "blocks.0.up.bias"):
            axis = 0 if per_channel and state[name].ndim >= 2 else None
            assert same_bits(model.state_dict()[name], fake_quantize(state[name], ternary, axis))
            assert not same_bits(model.state_dict()[name], state[name])
        model.blocks[0].up.register_forward_hook(
            lambda _module, _args, output: outputs.append(output.detach())
        )
        model(*inputs(batch=2))
        assert "blocks.0.up" in handle.fired
    (output,) = outputs
    assert same_bits(fake_quantize(output, ternary, (0, 1) if per_channel else 0), output)
    rows = {"none": output.reshape(1, -1), "tensor": output.flatten(1), "channel": output.flatten(0, 1)}
    assert all(len(row.abs().unique()) <= 2 for row in rows[DTYPES[ternary].scale])
    assert_same_state(model, state)
    assert Precision.parse("ternary_both") == Precision(ternary, "both")


@pytest.mark.parametrize("ternary", ["channel"], indirect=True)
def test_engines_that_do_not_know_a_data_type_leave_it_to_the_eager_one(untrained_policy, ternary):
    observation = ROBOTS["droid"].example_observation()
    noise = torch.zeros(load_policy(untrained_policy).noise_shape).numpy()
    with load_policy(untrained_policy) as policy:
        policy.set_precision(Precision(ternary, "both"))
        actions = policy.infer(observation, noise)["actions"]
        described = policy.describe_precision()
    assert described["engine"] == "eager"
    assert described["fired"] > 100
    with load_policy(untrained_policy, engine="eager") as policy:
        policy.set_precision(Precision(ternary, "both"))
        assert policy.infer(observation, noise)["actions"].tobytes() == actions.tobytes()
    with load_policy(untrained_policy, engine="compiled") as policy:
        policy.set_precision(Precision(ternary, "weights_only"))  # rounded before the engine sees them
        assert policy.describe_precision()["engine"] == "compiled"
        with pytest.raises(UserError, match="does not round activations to ternary; leave --engine at auto"):
            policy.set_precision(Precision(ternary, "both"))
