import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from paths import GOLDEN
from safetensors.torch import load_file
from torch import nn

from headless_eval.errors import UserError
from headless_eval.local_policy import example_observation, load_policy
from headless_eval.quant import (
    Calibration,
    DuQuant,
    Recorder,
    RoundToNearest,
    SmoothQuant,
    fake_quantize,
    quantize_,
)
from headless_eval.quant.bases import Basis, divisor, principal_axes, rotate_blocks, search_rotation, zigzag
from headless_eval.quant.handle import Handle
from headless_eval.quant.integers import PackedWeight, round_tokens
from headless_eval.quant.linears import linears_in_scope
from headless_eval.quant.methods import Bits, parse_method
from headless_eval.quant.precision import Precision, Scope, configurations

NAMES = [
    *("rtn_w4a8", "rtn_w4a16", "rtn_w3a4_g5_clip", "smoothquant_w8a8", "smoothquant_w4a8_alpha0.75"),
    *("duquant_w4a8", "duquant_w4a4_b4_noperm_ls0", "duquant_w8a8_rowrot_pct99", "duquant_w4a16_rowrot_b3"),
]


class ToyBlock(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 2 * width)
        self.down = nn.Linear(2 * width, width, bias=False)

    def forward(self, x):
        return x + self.down(self.up(self.norm(x)).relu())


class ToyModel(nn.Module):
    """Linear layers in a stack and beside it, two that share a weight, and one that nobody calls."""

    def __init__(self, width=24, outliers=1.0):
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Linear(6, width)
        self.blocks = nn.ModuleList(ToyBlock(width) for _ in range(2))
        self.blocks.append(nn.Linear(width, width))
        self.blocks.append(nn.Linear(width, width, bias=False))
        self.blocks[3].weight = self.blocks[2].weight
        self.head = nn.Linear(width, 5)
        self.eval().requires_grad_(False)
        for block in self.blocks[:2]:  # the same function, with two channels much larger than the others
            block.norm.weight[[3, width - 7]] *= outliers
            block.up.weight[:, [3, width - 7]] /= outliers

    def forward(self, x):
        x = self.embed(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def inputs(tokens=40, seed=1):
    return torch.randn(4, tokens, 6, generator=torch.Generator().manual_seed(seed))


def calibrate(model, x):
    with Recorder(model) as recorder, torch.inference_mode():
        model(x)
    return recorder.calibration(fingerprint="of the toy")


def snapshot(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same_bits(left, right):
    return left.shape == right.shape and torch.equal(left.view(torch.uint8), right.view(torch.uint8))


def relative(now, then):
    return float(((now - then).norm() / then.norm()).detach())


# --- names --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_name_says_all_of_a_method(name):
    method = parse_method(name)
    assert parse_method(method.name) == method
    precision = Precision(name)
    assert precision.method == method
    assert precision.name == method.name
    assert Precision.parse(precision.name) == precision == Precision.of(method)
    assert precision.activations == (method.activation_bits != 16)


def test_options_in_names():
    assert parse_method("rtn_w4a8_g64") == RoundToNearest(4, 8, group_size=64)
    assert parse_method("smoothquant_w8a8_alpha0.8") == SmoothQuant(8, 8, alpha=0.8)
    method = DuQuant(4, 4, block=16, permute=False, row_rotation=True, percentile=99.9, smooth=0.15)
    assert method.name == "duquant_w4a4_b16_noperm_rowrot_pct99.9_ls0.15"
    assert parse_method("duquant_w4a8_all").every_layer
    assert DuQuant().name == "duquant_w4a8"  # defaults are left out
    assert parse_method("int4") is None


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("duquant", "does not say the bits: write duquant_w4a8"),
        ("rtn_w4", "does not say the bits"),
        ("rtn_w4a8_b16", "is no option of rtn: there are g64, clip, all"),
        ("rtn_w9a8", "2 to 8"),
        ("rtn_w16a16", "quantizes nothing"),
        ("duquant_w4a8_pct10", "between 50 and 100"),
        ("dukwant_w4a8", "did you mean duquant_w4a8"),
    ],
)
def test_wrong_names(name, message):
    with pytest.raises(UserError, match=message):
        Precision(name)


def test_a_method_has_one_mode_and_runs_once():
    found = configurations(["int4", "float32", "duquant_w4a8", "rtn_w4a16"], ["weights_only", "both"])
    assert [one.name for one in found] == [
        *("float32", "int4_weights_only", "int4_both", "duquant_w4a8", "rtn_w4a16")
    ]
    assert [one.mode for one in found[-2:]] == ["both", "weights_only"]


def test_bits_by_layer():
    scope = Scope(bits=(("up", "w8a8"), ("blocks.1", "a4"), ("down", "16")))
    assert scope.bits_for(["blocks.1.up"], Bits(4, 8)) == Bits(8, 8)
    assert scope.bits_for(["blocks.1.down"], Bits(4, 8)) == Bits(4, 4)
    assert scope.bits_for(["blocks.0.down"], Bits(4, 8)) == Bits(16, 8)
    one, other = (Precision("rtn_w4a8", scope=Scope(bits=(("up", bits),))) for bits in ("8", "6"))
    assert one.name != other.name
    assert "up=8" in str(one.scope)
    assert Precision("int8", scope=scope).name == "int8_weights_only"  # a dtype has no bits to change
    with pytest.raises(UserError, match="write w4a8"):
        Scope(bits=(("up", "many"),))


# --- integers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 8])
@pytest.mark.parametrize("columns", [7, 8, 15])
@pytest.mark.parametrize("group", [None, 1, 3, 4, 100])
def test_packed_weights_unpack_to_the_same_bits(bits, columns, group):
    weight = torch.randn(6, columns, generator=torch.Generator().manual_seed(0))
    weight[2] = 0
    packed = PackedWeight.round(weight, bits, group)
    size = min(group or columns, columns)
    expected = [
        (
            part / (scale := (part.abs().amax(1, keepdim=True) / (2 ** (bits - 1) - 1)).clamp(min=1e-38))
        ).round()
        * scale
        for part in weight.split(size, dim=1)
    ]
    assert torch.equal(packed.unpack(), torch.cat(expected, dim=1))  # an integer has no sign at zero
    per_row = -(-columns // size) * size
    assert packed.codes.nbytes == 6 * (-(-per_row // 2) if bits <= 4 else per_row)
    assert packed.nbytes == packed.codes.nbytes + 4 * 6 * -(-columns // size)


def test_without_options_round_to_nearest_is_the_cast():
    x = torch.randn(3, 5, 16, generator=torch.Generator().manual_seed(0))
    weight = x[0]
    for bits, dtype in ((4, "int4"), (8, "int8")):
        assert torch.equal(PackedWeight.round(weight, bits).unpack(), fake_quantize(weight, dtype, 0))
        assert same_bits(round_tokens(x, bits), fake_quantize(x, dtype, (0, 1)))


def test_clipping_lowers_the_error_and_limits_what_is_represented():
    weight = torch.randn(32, 256, generator=torch.Generator().manual_seed(0))
    plain, clipped = (PackedWeight.round(weight, 3, clip=clip).unpack() for clip in (False, True))
    assert relative(clipped, weight) < 0.9 * relative(plain, weight)
    limit = torch.tensor(1.0)
    assert round_tokens(weight, 8, limit).abs().max() <= 1.0
    assert torch.isnan(round_tokens(torch.tensor([[1.0, torch.nan]]), 8, limit)).all()


# --- bases --------------------------------------------------------------------------------------------------


def test_a_change_of_basis_cancels_in_the_product():
    generator = torch.Generator().manual_seed(0)
    x, weight = torch.randn(50, 24, generator=generator), torch.randn(10, 24, generator=generator)
    x[:, 5] *= 100
    first = search_rotation(x, 8, 16)
    permutation = zigzag(x.abs().amax(0), 8)
    basis = Basis(torch.rand(24, generator=generator) + 0.5, first, permutation, search_rotation(x, 12, 16))
    product = basis.of_input(x) @ basis.of_weight(weight).t()
    assert relative(product, x @ weight.t()) < 1e-6
    assert relative(basis.weight_back(basis.of_weight(weight)), weight) < 1e-6


def test_rotations_spread_an_outlier_and_are_orthogonal():
    x = torch.randn(64, 32, generator=torch.Generator().manual_seed(0))
    x[:, 11] *= 50
    rotation = search_rotation(x, 16, 16)
    torch.testing.assert_close(rotation @ rotation.t(), torch.eye(16), rtol=0, atol=1e-6)
    turned = Basis(first=rotation).of_input(x)
    assert turned.abs().max() < 0.45 * x.abs().max()  # 1/4 would be perfect in blocks of 16
    assert turned.square().mean().item() == pytest.approx(x.square().mean().item(), rel=1e-5)
    even = torch.ones(4, 8) * torch.tensor([1.0, -1.0]).repeat(4)
    assert torch.equal(search_rotation(even, 8, 4), torch.eye(8))  # none is better


def test_zigzag_deals_magnitudes_out_evenly():
    magnitudes = torch.tensor([9.0, 1.0, 8.0, 2.0, 7.0, 3.0, 6.0, 4.0])
    permutation = zigzag(magnitudes, 4)
    assert sorted(permutation.tolist()) == list(range(8))
    assert magnitudes[permutation].reshape(2, 4).tolist() == [[9, 6, 4, 1], [8, 7, 3, 2]]
    assert (divisor(1152, 128), divisor(160, 64), divisor(7, 4), divisor(5, 8)) == (128, 40, 1, 5)


def test_principal_axes_make_rows_orthogonal():
    weight = torch.randn(12, 30, generator=torch.Generator().manual_seed(0))
    rows = rotate_blocks(weight.t(), principal_axes(weight, 4)).t().reshape(3, 4, 30)
    products = rows @ rows.transpose(1, 2)
    assert (products - torch.diag_embed(products.diagonal(dim1=1, dim2=2))).abs().max() < 1e-4


# --- a model ------------------------------------------------------------------------------------------------


def unrounded(model, name, calibration):
    """Put the model into what a method makes of it, but for the rounding."""
    method = dataclasses.replace(parse_method(name), weight_bits=16, activation_bits=8)
    with quantize_(model, method, calibration=calibration) as handle:
        chosen = linears_in_scope(model, handle.precision)
        layers = {
            place: dataclasses.replace(layer, inputs=dataclasses.replace(layer.inputs, bits=16))
            for place, layer in handle.layers.items()
        }
    handle = Handle(model, handle.precision)
    handle._install(chosen, layers)
    return handle


@pytest.mark.parametrize("name", NAMES)
def test_without_rounding_a_method_computes_the_same(name):
    model, x = ToyModel(outliers=30.0), inputs()
    expected = model(inputs(seed=2))
    with unrounded(model, name, calibrate(model, x)):
        assert relative(model(inputs(seed=2)), expected) < 1e-5
    assert same_bits(model(inputs(seed=2)), expected)


@pytest.mark.parametrize("name", NAMES)
def test_restoring_brings_back_every_bit(name):
    model, x = ToyModel(), inputs()
    calibration, state, expected = calibrate(model, x), snapshot(model), model(x)
    for _ in range(2):
        with quantize_(model, Precision(name), calibration=calibration) as handle:
            assert not same_bits(model(x), expected)
            assert set(handle.layers) == {f"blocks.{i}.{leaf}" for i in range(2) for leaf in ("up", "down")}
            assert handle.fired == handle.hooked == handle.linears_with_hooks or name == "rtn_w4a16"
            assert handle.packed_bytes > 0
        assert all(same_bits(tensor, state[key]) for key, tensor in model.state_dict().items())
        assert same_bits(model(x), expected)
    assert model.embed._forward_pre_hooks == model.blocks[0].up._forward_pre_hooks == {}


def test_weights_alone_need_no_hooks():
    model = ToyModel()
    with quantize_(model, RoundToNearest(4, 16)) as handle:
        assert handle.hooked == handle.linears_with_hooks == ()
        assert same_bits(model.blocks[0].up.weight.detach(), handle.layers["blocks.0.up"].packed.unpack())


def test_effective_weights_are_those_that_are_computed_with():
    model, x = ToyModel(), inputs()
    weight, bias = model.blocks[0].up.weight.clone(), model.blocks[0].up.bias.clone()
    method = DuQuant(4, 16, row_rotation=True)
    seen = torch.randn(7, 24, generator=torch.Generator().manual_seed(5))
    with quantize_(model, method, calibration=calibrate(model, x)) as handle:
        now = handle.layers["blocks.0.up"].effective_weight(weight)
        torch.testing.assert_close(model.blocks[0].up(seen), seen @ now.t() + bias, rtol=1e-4, atol=1e-5)
    assert 0.02 < relative(now, weight) < 0.2


@pytest.mark.parametrize("name", NAMES)
def test_a_token_does_not_depend_on_the_others(name):
    model = ToyModel()
    calibration = calibrate(model, inputs())
    x = torch.randn(9, 24, generator=torch.Generator().manual_seed(3)) * torch.logspace(-2, 2, 9)[:, None]
    with quantize_(model, Precision(name), calibration=calibration) as handle:
        change = handle.layers["blocks.1.up"].inputs
        together = change(x[None])[0]
        for row in range(9):
            torch.testing.assert_close(
                change(x[row]), together[row], rtol=1e-5, atol=1e-6 * float(x[row].abs().max())
            )


def test_outliers_are_what_smoothing_and_rotating_are_for():
    errors = {}
    for outliers in (1.0, 40.0):
        model = ToyModel(outliers=outliers)
        calibration, x = calibrate(model, inputs()), inputs(seed=7)
        expected = model(x)
        for name in ("rtn_w8a8", "smoothquant_w8a8", "duquant_w8a8", "rtn_w4a4", "duquant_w4a4"):
            with quantize_(model, Precision(name), calibration=calibration):
                errors[name, outliers] = relative(model(x), expected)
    for bits in ("w8a8", "w4a4"):
        assert errors[f"rtn_{bits}", 40.0] > 2.5 * errors[f"duquant_{bits}", 40.0]
        assert errors[f"duquant_{bits}", 40.0] < 1.5 * errors[f"duquant_{bits}", 1.0]
    assert errors["rtn_w8a8", 40.0] > 2.5 * errors["smoothquant_w8a8", 40.0]


def test_which_layers():
    model = ToyModel()
    model.also_called = lambda name: name.replace("blocks", "their.layers")

    def chosen(name, **scope):
        return {
            place.name: str(place.bits)
            for place in linears_in_scope(model, Precision(name, scope=Scope(**scope)))
        }

    assert set(chosen("rtn_w4a8")) == {f"blocks.{i}.{leaf}" for i in range(2) for leaf in ("up", "down")}
    assert set(chosen("rtn_w4a8_all")) == set(chosen("rtn_w4a8")) | {"embed", "head"}
    assert set(chosen("rtn_w4a8", include=r"^their\.layers\.1")) == {"blocks.1.up", "blocks.1.down"}
    assert set(chosen("rtn_w4a8", exclude="up")) == {"blocks.0.down", "blocks.1.down"}
    assert chosen("rtn_w4a8", bits=(("up", "w8"), (r"their.layers.1.down", "w16a16"))) == {
        "blocks.0.up": "w8a8",
        "blocks.0.down": "w4a8",
        "blocks.1.up": "w8a8",
    }
    with pytest.raises(UserError, match="matches no linear layer within a stack"):
        chosen("rtn_w4a8", include="embed")
    assert [
        place.name for place in linears_in_scope(nn.Sequential(nn.Linear(3, 3)), Precision("rtn_w4a8"))
    ] == ["0"]


# --- calibration --------------------------------------------------------------------------------------------


def test_recording_layers_that_nothing_calls_says_why():
    with Recorder(torch.nn.Linear(4, 4)) as recorder, pytest.raises(UserError, match="engine='eager'"):
        recorder.calibration()


def test_what_a_calibration_sees(tmp_path):
    model, x = ToyModel(), inputs()
    calibration = calibrate(model, x)
    first = calibration.layers["embed"]
    assert torch.equal(first.largest, x.reshape(-1, 6).abs().amax(0))
    assert first.tokens.shape == (128, 6)  # of 160
    rows = {tuple(row) for row in x.reshape(-1, 6).to(torch.bfloat16).tolist()}
    assert {tuple(row) for row in first.tokens.tolist()} <= rows
    path = tmp_path / "calibration.safetensors"
    calibration.save(path)
    again = Calibration.load(path)
    assert again.sha256() == calibration.sha256() == calibrate(model, x).sha256()
    assert again.facts == {"fingerprint": "of the toy"}
    assert calibrate(model, inputs(seed=9)).sha256() != calibration.sha256()
    again.check("of the toy", str(path))
    with pytest.raises(UserError, match="other weights"):
        again.check("of another", str(path))


def test_calibrations_that_do_not_serve(tmp_path):
    model = ToyModel()
    with pytest.raises(UserError, match="needs a calibration"):
        quantize_(model, DuQuant())
    with pytest.raises(UserError, match="saw no input of"):
        quantize_(model, SmoothQuant(), calibration=Calibration({}))
    with pytest.raises(UserError, match="another model's"):
        quantize_(model, SmoothQuant(), calibration=calibrate(ToyModel(width=12), inputs()))
    quantize_(model, RoundToNearest()).restore()  # nothing was left behind
    path = tmp_path / "calibration.safetensors"
    for content in (b"", b"\x80\x04K\x01.", b"not at all"):
        path.write_bytes(content)
        with pytest.raises(UserError, match="cannot read"):
            Calibration.load(path)
    with pytest.raises(UserError, match="cannot read"):
        Calibration.load(tmp_path / "missing")


# --- packs --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["rtn_w4a8_g5", "smoothquant_w8a8", "duquant_w4a8_rowrot", "duquant_w16a4"])
def test_packs_are_read_the_next_time(tmp_path, monkeypatch, name):
    model, x = ToyModel(), inputs()
    calibration = calibrate(model, x)

    def enter(name=name, **changes):
        arguments = {"calibration": calibration, "packdir": tmp_path / "packs"} | changes
        with quantize_(model, Precision(name), **arguments) as handle:
            return model(x), handle.packed_bytes

    made, size = enter()
    (path,) = (tmp_path / "packs").iterdir()
    with monkeypatch.context() as patch:
        patch.setattr("headless_eval.quant.quantize.solve", None)
        read, read_size = enter()
    assert same_bits(made, read)
    assert read_size == size
    assert sum(tensor.nbytes for tensor in load_file(path).values()) - size in (
        0,
        *range(4, 20, 4),
    )  # the clips
    path.write_bytes(path.read_bytes()[:-9])
    assert same_bits(enter()[0], made)  # made anew
    with torch.no_grad():
        model.blocks[0].up.weight[0, 0] += 1
    enter()
    enter(calibration=calibrate(model, inputs(seed=9)))
    assert len(list((tmp_path / "packs").iterdir())) == (2 if name.startswith("rtn") else 3)


# --- the policy ---------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("which", ["bundled", "pi0_droid", "pi05_droid"])
def test_without_rounding_policies_act_the_same(droid_policies, which):
    arguments = droid_policies[which]
    if not Path(arguments.get("checkpoint", ".")).exists():
        pytest.skip(f"{arguments['checkpoint']} is missing: the golden policies are not on this machine")
    with load_policy(**arguments, engine="eager", max_batch=1) as policy:
        rng = np.random.default_rng(0)
        obs = {
            key: rng.integers(0, 255, value.shape, np.uint8) if "image" in key else value
            for key, value in example_observation("droid").items()
        }
        noise = rng.standard_normal(policy.noise_shape, np.float32)
        calibration = policy.record_inputs([obs], [noise])
        expected = policy.infer(obs, noise)["actions"]
        for name in ("smoothquant_w8a8_all", "duquant_w4a8_all", "duquant_w4a8_b16_rowrot_ls0.15"):
            with unrounded(policy.module, name, calibration):
                actions = policy.infer(obs, noise)["actions"]
            assert actions.tobytes() != expected.tobytes()
            assert np.abs(actions - expected).max() < 1e-5 * max(1.0, np.abs(expected).max()), name
        assert policy.infer(obs, noise)["actions"].tobytes() == expected.tobytes()


def test_the_policy_with_methods(untrained_policy):
    with load_policy(untrained_policy) as policy:
        observations = [example_observation("droid")] * 3
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
@pytest.mark.parametrize("name", NAMES)
def test_a_gpu_computes_methods_without_synchronising(name):
    model, x = ToyModel(outliers=30.0), inputs()
    calibration = calibrate(model, x)
    with quantize_(model, Precision(name), calibration=calibration) as handle:
        expected, layers = model(x), handle.layers
    model, x = ToyModel(outliers=30.0).cuda(), x.cuda()
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
