from pathlib import Path

import numpy as np
import pytest
import torch
from paths import GOLDEN
from quant_cases import (
    METHOD_NAMES,
    ToyModel,
    ToyStack,
    assert_same_state,
    calibration_of,
    relative,
    same_bits,
    snapshot,
    stack_inputs,
    unrounded,
)
from torch import nn

from headless_eval.contracts.robots import ROBOTS
from headless_eval.errors import UserError
from headless_eval.local_policy import load_policy
from headless_eval.quant import Precision, Scope, quantize_
from headless_eval.quant.linears import linears_in_scope


def test_scope():
    model = ToyModel()
    state = snapshot(model)

    def touched(scope):
        with quantize_(model, Precision("boolean", "both", scope)) as handle:
            now = model.state_dict()
            names = {name for name in state if not same_bits(now[name], state[name])}
            return names, set(handle.hooked)

    weights, hooked = touched(Scope(r"^blocks\.1\."))
    assert hooked == {f"blocks.1.{leaf}" for leaf in ("norm", "up", "act", "down")}
    assert weights
    assert all(name.startswith("blocks.1.") for name in weights)
    weights, hooked = touched(Scope(exclude="blocks|unused"))
    assert hooked == {"vision", "embed", "head"}
    assert weights == {"vision.weight", "vision.bias", "embed.weight", "head.weight", "query"}
    # It is the module's name that counts, not the parameter's.
    assert touched(Scope(r"vision$"))[0] == {"vision.weight", "vision.bias"}
    # A parameter under two names is in scope by either.
    weights, hooked = touched(Scope("head"))
    assert (weights, hooked) == ({"embed.weight", "head.weight"}, {"head"})
    assert_same_state(model, state)


@pytest.mark.parametrize(
    ("model", "precision"),
    [
        (ToyModel(), Precision("int8", "weights_only", Scope("nowhere"))),
        (ToyModel(), Precision("int8", "activations_only", Scope("nowhere"))),
        (ToyModel(), Precision("int8", "both", Scope(r"\.act$"))),  # leaves, but without weights
        (nn.ParameterList([torch.ones(2)]), Precision("int8", "activations_only")),
    ],
)
def test_a_scope_that_matches_nothing_is_an_error(model, precision):
    with pytest.raises(UserError, match="matches no"):
        quantize_(model, precision)
    quantize_(model, Precision("int8")).restore()  # nothing was left behind


def test_outliers_are_what_smoothing_and_rotating_are_for():
    errors = {}
    for outliers in (1.0, 40.0):
        model = ToyStack(outliers=outliers)
        calibration, x = calibration_of(model, stack_inputs()), stack_inputs(seed=7)
        expected = model(x)
        for name in ("rtn_w8a8", "smoothquant_w8a8", "duquant_w8a8", "rtn_w4a4", "duquant_w4a4"):
            with quantize_(model, Precision(name), calibration=calibration):
                errors[name, outliers] = relative(model(x), expected)
    for bits in ("w8a8", "w4a4"):
        assert errors[f"rtn_{bits}", 40.0] > 2.5 * errors[f"duquant_{bits}", 40.0]
        assert errors[f"duquant_{bits}", 40.0] < 1.5 * errors[f"duquant_{bits}", 1.0]
    assert errors["rtn_w8a8", 40.0] > 2.5 * errors["smoothquant_w8a8", 40.0]


@pytest.fixture
def droid_policies(request):
    """What loads policies: the bundled one, and golden checkpoints of π0 and π0.5, where they are."""
    policies = {"bundled": {"policy": request.getfixturevalue("droid_policy")}}
    for name in ("pi0_droid", "pi05_droid"):
        folder = GOLDEN / "openpi_pytorch" / name
        policies[name] = {
            "checkpoint": folder / "checkpoint",
            "config_file": folder / "meta.json",
            "tokenizer": GOLDEN / "tokenizer.model",
        }
    return policies


@pytest.mark.parametrize(
    ("which", "methods"),
    [
        ("bundled", ["duquant_w4a8_all_b16_rowrot_ls0.15"]),  # all changes of basis, in every layer
        ("pi0_droid", ["smoothquant_w8a8_all", "duquant_w4a8_all", "duquant_w4a8_b16_rowrot_ls0.15"]),
        ("pi05_droid", ["smoothquant_w8a8_all", "duquant_w4a8_all"]),
    ],
    ids=["bundled", "pi0_droid", "pi05_droid"],
)
def test_without_rounding_policies_act_the_same(droid_policies, which, methods):
    arguments = droid_policies[which]
    if not Path(arguments.get("checkpoint", ".")).exists():
        pytest.skip(f"{arguments['checkpoint']} is missing: the golden policies are not on this machine")
    with load_policy(**arguments, engine="eager", max_batch=1) as policy:
        rng = np.random.default_rng(0)
        obs = {
            key: rng.integers(0, 255, value.shape, np.uint8) if "image" in key else value
            for key, value in ROBOTS["droid"].example_observation().items()
        }
        noise = rng.standard_normal(policy.noise_shape, np.float32)
        calibration = policy.record_inputs([obs], [noise])
        expected = policy.infer(obs, noise)["actions"]
        for name in methods:
            with unrounded(policy.module, name, calibration):
                actions = policy.infer(obs, noise)["actions"]
            assert actions.tobytes() != expected.tobytes()
            assert np.abs(actions - expected).max() < 1e-5 * max(1.0, np.abs(expected).max()), name
        assert policy.infer(obs, noise)["actions"].tobytes() == expected.tobytes()


def test_the_policy_with_methods(untrained_policy):
    with load_policy(untrained_policy) as policy:
        observations = [ROBOTS["droid"].example_observation()] * 3
        noise = np.random.default_rng(0).standard_normal((3, *policy.noise_shape), np.float32)
        fingerprint = policy.fingerprint()
        policy.calibration = policy.record_inputs(observations, noise)
        assert policy.calibration.facts["fingerprint"] == fingerprint
        expected = policy.infer_batch(observations, noise)
        described, sizes = {}, {}
        loaded = {key: parameter.clone() for key, parameter in policy.module.named_parameters()}
        whole = sum(parameter.nbytes for parameter in loaded.values())
        for name in ("duquant_w4a8_rowrot", "rtn_w4a16"):
            policy.set_precision(Precision(name))
            actions = policy.infer_batch(observations, noise)
            for reply in (policy.infer(observations[0], noise[0]), policy.infer(observations[0], noise[0])):
                assert reply["actions"].tobytes() == actions[0]["actions"].tobytes()
            assert actions[0]["actions"].tobytes() != expected[0]["actions"].tobytes()
            assert policy.fingerprint() == fingerprint  # of the unquantized weights
            described[name] = policy.describe_precision()
            sizes[name] = policy.stored_bytes, sum(policy.packed_bytes.values())
            for key, now in policy.effective_parameters():
                assert relative(now, loaded[key]) < 0.3, key
        assert described["duquant_w4a8_rowrot"]["fired"] == described["duquant_w4a8_rowrot"]["hooked"] == 115
        assert described["rtn_w4a16"]["packed_bytes"] == sizes["rtn_w4a16"][1] > 2_000_000
        assert sizes["rtn_w4a16"][0] < sizes["duquant_w4a8_rowrot"][0] < 0.7 * whole
        assert sizes["rtn_w4a16"][0] < 0.2 * whole
        policy.set_precision(Precision())
        for then, now in zip(expected, policy.infer_batch(observations, noise), strict=True):
            assert then["actions"].tobytes() == now["actions"].tobytes()
        assert policy.fingerprint() == fingerprint
        theirs = Scope(r"^paligemma_with_expert\.gemma_expert\.model\.")
        chosen = linears_in_scope(policy.module, Precision("rtn_w4a8", scope=theirs))
        assert {place.name.split(".")[0] for place in chosen} == {"expert"}


@pytest.mark.gpu
@pytest.mark.parametrize("name", METHOD_NAMES)
def test_a_gpu_computes_methods_without_synchronising(name):
    model, x = ToyStack(outliers=30.0), stack_inputs()
    calibration = calibration_of(model, x)
    with quantize_(model, Precision(name), calibration=calibration) as handle:
        expected, layers = model(x), handle.layers
    model, x = ToyStack(outliers=30.0).cuda(), x.cuda()
    state = snapshot(model)
    with quantize_(model, Precision(name), calibration=calibration) as handle:
        torch.cuda.set_sync_debug_mode("error")
        try:
            actual = model(x)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        assert handle.packed_bytes == sum(layer.nbytes for layer in layers.values())
    # Sums round otherwise there, and a value beside a step's middle falls to the other side.
    assert relative(actual.cpu(), expected) < 0.05
    assert all(same_bits(tensor, state[key]) for key, tensor in model.state_dict().items())
