"""The compiled engine on a CPU against the model itself: same actions, rounding and evidence of it."""

import threading
from dataclasses import replace

import pytest
import torch
from engine_cases import QUANTIZED, awkward, chaotic, distance, needs_c, same_bits, sampled
from pi0_cases import SMALL, SMALL_PI05, batch_for, randomised

from headless_eval.policies.paligemma.config import GemmaConfig
from headless_eval.policies.pi0.engine import make_engine
from headless_eval.policies.pi0.engine.cpu import engine as cpu
from headless_eval.quant import fake_quantize, quantize_
from headless_eval.quant.precision import MODES, Precision, Scope


@needs_c
@pytest.mark.parametrize("views", [0, 1, 3])
def test_the_compiled_engine_gives_the_models_actions(small, views):
    batch = batch_for(small.config, views=views)
    engine = make_engine("compiled", small)
    assert engine.name == "compiled"
    for steps in (None, 5):
        expected = sampled(small, batch, num_steps=steps)
        assert distance(sampled(engine, batch, num_steps=steps), expected) < 2e-6


@needs_c
def test_weights_that_no_cache_holds():
    """Sizes off any multiple, and wide enough that products go part by part."""
    wide = {"depth": 2, "num_heads": 4, "num_kv_heads": 2, "head_dim": 22}
    config = replace(
        SMALL,
        gemma=GemmaConfig(width=601, mlp_dim=777, **wide),
        expert=GemmaConfig(width=334, mlp_dim=410, **wide),
        siglip=replace(SMALL.siglip, width=290, mlp_dim=1001),
    )
    model, batch = randomised(config), batch_for(config)
    assert distance(sampled(make_engine("compiled", model), batch), sampled(model, batch)) < 5e-6


@needs_c
def test_a_view_masked_for_one_sample_only(small):
    batch = batch_for(small.config)
    batch.image_masks[1] = torch.tensor([True, False, True])
    assert distance(sampled(make_engine("compiled", small), batch), sampled(small, batch)) < 2e-6


@needs_c
@pytest.mark.parametrize("name", ["float32", "float8_e4m3_both", "boolean_both", "int8_both"])
def test_a_row_depends_neither_on_the_others_nor_on_the_thread(small, name):
    batch = batch_for(small.config, size=5, used=7)
    precision = Precision.parse(name)
    handle = quantize_(small, precision) if name != "float32" else None
    engine = make_engine("auto", small, precision, handle=handle)
    together = sampled(engine, batch)
    found: dict[int, torch.Tensor] = {}

    def one(row: int) -> None:
        part = slice(row, row + 1)
        images, masks = [i[part] for i in batch.images], [m[part] for m in batch.image_masks]
        found[row] = engine.sample_actions(
            images, masks, batch.tokens[part], batch.token_mask[part], batch.state[part], batch.noise[part]
        )

    threads = [threading.Thread(target=one, args=(row,)) for row in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert torch.equal(torch.cat([found[row] for row in range(5)]), together)


@needs_c
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", QUANTIZED)
def test_activations_are_rounded_as_the_hooks_round_them(dtype, mode):
    """A last bit of a sum can flip a rounding, in the model itself as well: of three models one is free of it."""
    for config in (SMALL, SMALL_PI05):
        apart = []
        for seed in range(3):
            model, batch = randomised(config, seed), batch_for(config, used=8)
            exact = sampled(model, batch)
            with quantize_(model, Precision(dtype, mode)) as handle:
                expected = sampled(model, batch)
                by_hooks = set(handle.fired)
            with quantize_(model, Precision(dtype, mode)) as handle:
                found = sampled(make_engine("compiled", model, handle.precision, handle=handle), batch)
                assert set(handle.fired) == by_hooks == set(handle.hooked)
            apart.append(float((found - expected).norm() / (expected - exact).norm()))
        assert min(apart) < (2 if chaotic(Precision(dtype, mode)) else 0.2)


@needs_c
def test_only_the_modules_in_scope_are_rounded(small):
    batch = batch_for(small.config)
    small.never = torch.nn.Linear(2, 2)
    precision = Precision("bfloat16", "activations_only", Scope(r"layers\.1\.mlp|never|norm"))
    with quantize_(small, precision) as handle:
        expected = sampled(small, batch)
        by_hooks = handle.fired
    with quantize_(small, precision) as handle:
        found = sampled(make_engine("compiled", small, precision, handle=handle), batch)
        assert handle.fired == by_hooks
        assert handle.unfired == ("never",)
    assert distance(found, expected) < 1e-3
    assert distance(expected, sampled(small, batch)) > 1e-4


@needs_c
def test_entering_and_leaving_precisions_leaves_every_bit(small):
    batch = batch_for(small.config)
    before = {name: value.clone() for name, value in small.state_dict().items()}
    first = sampled(make_engine("compiled", small), batch)
    for name in ("boolean_both", "int4_weights_only", "float8_e5m2_activations_only"):
        with quantize_(small, Precision.parse(name)) as handle:
            other = sampled(make_engine("compiled", small, handle.precision, handle=handle), batch)
            assert not torch.equal(first, other)
    assert all(torch.equal(value, before[name]) for name, value in small.state_dict().items())
    assert torch.equal(sampled(make_engine("compiled", small), batch), first)


@needs_c
def test_what_does_not_fit_is_refused_before_c_reads_it(small):
    batch, engine = batch_for(small.config), make_engine("compiled", small)
    for name, wrong in (
        ("tokens", batch.tokens + small.config.vocab_size),
        ("state", batch.state[:, :-1]),
        ("noise", batch.noise[:, :-1]),
        ("images", [image[..., 1:] for image in batch.images]),
    ):
        broken = batch_for(small.config)
        setattr(broken, name, wrong)
        with pytest.raises(ValueError):
            sampled(engine, broken)


@needs_c
@pytest.mark.parametrize("dtype", QUANTIZED)
def test_c_rounds_to_the_bit_as_quant_does(dtype):
    for x in awkward(dtype):
        found = x.clone()
        cpu.round_(found, dtype)
        assert same_bits(found, fake_quantize(x, dtype))
