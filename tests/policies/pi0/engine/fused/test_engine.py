"""The fused engine against the eager model, on a GPU."""

from dataclasses import replace

import pytest
import torch

from headless_eval.errors import UserError
from headless_eval.policies.paligemma.config import GemmaConfig, SiglipConfig
from headless_eval.policies.paligemma.gemma import AdaptiveRMSNorm
from headless_eval.policies.pi0.config import Pi0Config
from headless_eval.policies.pi0.engine import make_engine
from headless_eval.policies.pi0.model import Pi0
from headless_eval.quant import quantize_
from headless_eval.quant.precision import Precision

GEMMA = GemmaConfig(width=256, depth=3, mlp_dim=512, num_heads=2, num_kv_heads=1, head_dim=128)
CONFIG = Pi0Config(
    pi05=True,
    action_horizon=15,
    action_dim=32,
    max_token_len=48,
    discrete_state_input=True,
    gemma=GEMMA,
    expert=GEMMA,
    siglip=SiglipConfig(width=64, depth=2, mlp_dim=128, num_heads=2, patch_size=14, image_size=56),
    vocab_size=128,
)


def make(pi05=True, dtype=torch.float32, device="cuda"):
    torch.manual_seed(0)
    model = Pi0(replace(CONFIG, pi05=pi05, discrete_state_input=pi05)).eval()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, AdaptiveRMSNorm):  # drawn as zero, with which layers do nothing
                module.dense.weight.normal_(std=0.05)
        model.vision.position_embedding.weight.normal_(std=0.1)
    return model.to(device, dtype)


def inputs(batch, views=2, seed=1, lengths=None):
    draw = torch.Generator().manual_seed(seed)
    images = [torch.rand(batch, 3, 56, 56, generator=draw) * 2 - 1 for _ in range(views)]
    tokens = torch.randint(0, 128, (batch, 48), generator=draw)
    used = torch.tensor(lengths or [20] * batch)
    mask = torch.arange(48) < used[:, None]
    state = torch.randn(batch, 32, generator=draw)
    noise = torch.randn(batch, 15, 32, generator=draw)
    return images, [torch.ones(batch, dtype=torch.bool)] * views, tokens, mask, state, noise


def error(found, expected):
    return float((found.float() - expected.float()).norm() / expected.float().norm())


def test_without_a_gpu_it_says_what_to_do():
    with pytest.raises(UserError, match="needs a CUDA GPU"):
        make_engine("fused", make(device="cpu"))
    with pytest.raises(UserError, match="use --execution simulated"):
        make_engine("auto", make(device="cpu"), Precision("float8_e4m3", "both"), "native")


@pytest.mark.gpu
@pytest.mark.parametrize("batch", [1, 4, 6], ids=["few rows", "more blocks of rows", "many rows"])
@pytest.mark.parametrize("pi05", [True, False], ids=["pi05", "pi0"])
@pytest.mark.parametrize(
    ("dtype", "bound"), [(torch.float32, 2e-6), (torch.float16, 4e-3), (torch.bfloat16, 3e-2)]
)
def test_agrees_with_the_eager_model(pi05, batch, dtype, bound):
    model = make(pi05)
    given = inputs(batch, lengths=[20, 3, 17, 24, 8, 1][:batch])
    expected = model.sample_actions(*given)
    found = make_engine("fused", model.to(dtype)).sample_actions(*given)
    assert found.dtype == torch.float32
    assert error(found, expected) < bound


@pytest.mark.gpu
@pytest.mark.parametrize("batch", [1, 6])
def test_native_execution_is_as_exact_as_its_type(batch):
    model, given = make(), inputs(batch)
    expected = model.sample_actions(*given)
    errors = {}
    for dtype in ("float32", "float16", "bfloat16", "int8", "float8_e4m3"):
        engine = make_engine("fused", model, Precision(dtype, "both"), "native")
        errors[dtype] = error(engine.sample_actions(*given), expected)
    assert errors["float32"] < 2e-6 < errors["float16"] < errors["bfloat16"] < errors["float8_e4m3"]
    assert errors["bfloat16"] < 0.03
    assert errors["int8"] < 0.1
    assert errors["float8_e4m3"] < 0.2


@pytest.mark.gpu
def test_other_types_have_no_native_execution():
    with pytest.raises(UserError, match="does not compute boolean_both"):
        make_engine("fused", make(), Precision("boolean", "both"), "native")


@pytest.mark.gpu
@pytest.mark.parametrize("batch", [2, 8])
def test_a_row_depends_on_nothing_else_in_the_batch(batch):
    engine = make_engine("fused", make(dtype=torch.bfloat16))
    given = inputs(batch)
    images, masks, tokens, mask, state, noise = inputs(batch, seed=2)
    others = [torch.cat([a[:1], b[1:]]) for a, b in zip(given[0], images, strict=True)]
    mixed = [torch.cat([a[:1], b[1:]]) for a, b in zip(given[2:], (tokens, mask, state, noise), strict=True)]
    first = engine.sample_actions(*given)
    second = engine.sample_actions(others, masks, *mixed)
    assert torch.equal(first[0], second[0])
    assert not torch.equal(first[1], second[1])
    turned = [part.flip(0) for part in given[0]], masks, *(part.flip(0) for part in given[2:])
    assert torch.equal(engine.sample_actions(*turned).flip(0), first)


@pytest.mark.gpu
def test_repeats_exactly_and_in_a_new_engine():
    model, given = make(dtype=torch.bfloat16), inputs(1)
    first = make_engine("fused", model).sample_actions(*given)
    engine = make_engine("fused", model)
    for _ in range(20):
        assert torch.equal(engine.sample_actions(*given), first)


@pytest.mark.gpu
def test_prompts_of_several_lengths_take_turns():
    model = make()
    engine = make_engine("fused", model)
    for length in (5, 30, 5, 48, 30):
        given = inputs(1, lengths=[length], seed=length)
        assert error(engine.sample_actions(*given), model.sample_actions(*given)) < 2e-6


@pytest.mark.gpu
def test_a_masked_view_is_left_out():
    model, given = make(), inputs(1, views=3)
    masks = [torch.tensor([True]), torch.tensor([True]), torch.tensor([False])]
    engine = make_engine("fused", model)
    found = engine.sample_actions(given[0], masks, *given[2:])
    assert error(found, model.sample_actions(given[0], masks, *given[2:])) < 2e-6


@pytest.mark.gpu
def test_half_masked_batches_and_gaps_in_prompts_are_refused():
    images, masks, tokens, mask, state, noise = inputs(2)
    engine = make_engine("fused", make())
    with pytest.raises(ValueError, match="whole batch"):
        engine.sample_actions(images, [masks[0], torch.tensor([True, False])], tokens, mask, state, noise)
    gap = mask.clone()
    gap[0, 2] = False
    with pytest.raises(ValueError, match="without gaps"):
        engine.sample_actions(images, masks, tokens, gap, state, noise)


@pytest.mark.gpu
def test_weights_in_a_precision_are_those_it_computes_with_and_come_back():
    model, given = make(), inputs(1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    plain = make_engine("fused", model).sample_actions(*given)
    with quantize_(model, Precision("float8_e4m3", "weights_only")):
        rounded = make_engine("fused", model, Precision("float8_e4m3")).sample_actions(*given)
        assert error(rounded, model.sample_actions(*given)) < 2e-6
    assert error(rounded, plain) > 1e-3
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert torch.equal(make_engine("fused", model).sample_actions(*given), plain)
