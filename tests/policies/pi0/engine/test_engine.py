"""Engines against the model itself: same actions, same rounding, same evidence of what was rounded."""

import threading
from dataclasses import replace

import pytest
import torch
from pi0_cases import SMALL, SMALL_PI05, batch_for, load_golden, randomised

from headless_eval import load_policy
from headless_eval.cli.main import main
from headless_eval.config.run import RunConfig
from headless_eval.errors import UserError
from headless_eval.policies.paligemma.config import GemmaConfig
from headless_eval.policies.pi0 import engine as engines
from headless_eval.policies.pi0.engine import make_engine
from headless_eval.policies.pi0.engine.compiled import compilation
from headless_eval.policies.pi0.engine.compiled.engine import CompiledEngine
from headless_eval.policies.pi0.engine.compiled.rounding import rounded
from headless_eval.policies.pi0.engine.cpu import engine as cpu
from headless_eval.policies.pi0.engine.joined_weights import joined
from headless_eval.quant import fake_quantize, quantize_
from headless_eval.quant.precision import DTYPES, MODES, Precision, Scope
from headless_eval.results.differences import differences

QUANTIZED = [dtype for dtype in DTYPES if dtype != "float32"]
SCALED = ("uint32", "int32", "boolean", "int8", "int4")

try:
    cpu.library()
    NO_COMPILER = None
except OSError as error:
    NO_COMPILER = str(error)
needs_c = pytest.mark.skipif(NO_COMPILER is not None, reason=f"C cannot be built here: {NO_COMPILER}")


def distance(found: torch.Tensor, expected: torch.Tensor) -> float:
    assert found.shape == expected.shape
    return float((found - expected).norm() / expected.norm())


def chaotic(precision: Precision) -> bool:
    """Whether steps are so fine, or values so few, that one flip leads to the next, in the model itself too."""
    return precision.dtype in ("uint32", "float16") or precision.name == "boolean_both"


def sampled(engine, batch, **arguments) -> torch.Tensor:
    return engine.sample_actions(*batch.prefix, batch.state, batch.noise, **arguments)


# --- the compiled engine on a CPU


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


# --- rounding


def awkward(dtype: str) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    bits = (
        torch.randint(-(2**31), 2**31 - 1, (16, 999), generator=generator).to(torch.int32).view(torch.float32)
    )
    if dtype in SCALED:  # a NaN makes all that shares its scale one
        bits = bits.nan_to_num(0, 1e30, -1e30).clamp(-1e30, 1e30)
    edges = [
        0.0,
        -0.0,
        448,
        464,
        465,
        57344,
        61440,
        65504,
        65519,
        65520,
        2**-14,
        2**-15,
        2**-24,
        2**-25,
        3 * 2**-10,
    ]
    edges += [1e-45, 3.4e38, -3.4e38, 2**-133, float("inf"), -float("inf"), float("nan")]
    normal = torch.randn(7, 50, generator=generator)
    ties = torch.randint(0, 4, (16, 16), generator=generator).float() - 2
    return [
        bits,
        torch.tensor([edges]),
        normal,
        1e3 * normal,
        normal.abs() + 1,
        ties,
        ties * 0,
        ties[:1, :1] * 0 + 3,
    ]


def same_bits(found: torch.Tensor, expected: torch.Tensor) -> bool:
    equal = found.view(torch.int32) == expected.view(torch.int32)
    return bool((equal | (found.isnan() & expected.isnan())).all())


@needs_c
@pytest.mark.parametrize("dtype", QUANTIZED)
def test_c_rounds_to_the_bit_as_quant_does(dtype):
    for x in awkward(dtype):
        found = x.clone()
        cpu.round_(found, dtype)
        assert same_bits(found, fake_quantize(x, dtype))


@pytest.mark.parametrize("dtype", QUANTIZED)
def test_what_is_traced_rounds_to_the_bit_as_quant_does(dtype):
    for x in awkward(dtype):
        kept = (0, 1) if dtype in ("int8", "int4") else 0
        assert same_bits(rounded(x[None], dtype), fake_quantize(x[None], dtype, kept))


# --- which engine


def test_names_and_where_they_can_be_used(small, monkeypatch, caplog):
    assert make_engine("eager", small).sample_actions == small.sample_actions
    with pytest.raises(UserError, match="unknown engine 'eagre': did you mean eager"):
        make_engine("eagre", small)
    with pytest.raises(UserError, match="unknown execution"):
        make_engine("auto", small, execution="nativ")
    with pytest.raises(UserError, match="'fused' cannot be used here: it needs a CUDA GPU"):
        make_engine("fused", small)
    for name in ("auto", "eager", "compiled"):
        with pytest.raises(UserError, match="no native execution"):
            make_engine(name, small, execution="native")
    half = randomised(small.config).to(torch.bfloat16)
    assert make_engine("auto", half).name == "eager"
    with pytest.raises(UserError, match="float32 alone"):
        make_engine("compiled", half)

    def none() -> None:
        raise OSError("no C compiler (cc, gcc or clang)")

    monkeypatch.setattr(cpu, "library", none)
    engines._warn_once.cache_clear()
    assert make_engine("auto", small).name == "eager"
    assert "no C compiler" in caplog.text
    with pytest.raises(UserError, match="no C compiler"):
        make_engine("compiled", small)


@needs_c
def test_a_compiler_that_fails_and_one_that_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("CC", "false")
    with pytest.raises(OSError, match="cannot build"):
        cpu.library.__wrapped__()
    assert not list((tmp_path / "headless-eval").iterdir())
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC")
    with pytest.raises(OSError, match="no C compiler"):
        cpu.library.__wrapped__()


@needs_c
def test_a_policy_makes_its_engine_anew_with_every_precision():
    with load_policy() as local:
        assert (
            local.describe()["engine"] == local.describe_precision().get("engine", "compiled") == "compiled"
        )
        first = local.policy.engine
        local.set_precision(Precision("int8", "both"))
        assert local.policy.engine is not first
        local.warmup()
        described = local.describe_precision()
        assert (described["engine"], described["execution"]) == ("compiled", "simulated")
        assert described["hooked"] == described["fired"] > 0
        local.set_precision(Precision.parse("rtn_w4a8"))
        assert local.describe_precision()["engine"] == "eager"
    with pytest.raises(UserError, match="no native execution"):
        load_policy(execution="native")
    with pytest.raises(UserError, match="unknown engine"):
        load_policy(engine="fast")
    with pytest.raises(UserError, match="nor engine"):
        load_policy("zero", engine="eager")


@needs_c
def test_a_precision_that_the_engine_was_not_told_of_is_computed_all_the_same():
    with load_policy() as local, quantize_(local.module, Precision("boolean", "activations_only")) as handle:
        local.warmup()
        assert handle.unfired == ()


def test_two_engines_are_two_settings(tmp_path, capsys):
    for name, choices in (("engine", "auto, eager, compiled or fused"), ("execution", "simulated or native")):
        with pytest.raises(UserError, match=f"--{name} is 'fast'; it must be {choices}"):
            RunConfig(**{name: "fast"})
    for flags in (["--execution", "native"], ["--engine", "fused"]):
        assert main(["run", "--videos", "none", "--results", str(tmp_path / "run"), *flags]) == 2
        said = capsys.readouterr().err.strip()
        assert "needs a CUDA GPU" in said
        assert "\n" not in said
    assert not (tmp_path / "run").exists()
    (found,) = differences({"settings": {"engine": "eager"}}, {"settings": {"engine": "auto"}})
    assert found.binding
    (found,) = differences({"policy": {"engine": "eager"}}, {"policy": {"engine": "compiled"}})
    assert found.binding


@needs_c
@pytest.mark.parametrize("name", ["pi0_droid", "pi05_libero"])
def test_engines_give_the_reference_actions(name):
    case = load_golden("openpi_pytorch", name)
    noise, expected = case.stacked("noise"), torch.from_numpy(case.stacked("actions"))
    policy = case.policy()
    for engine in ("eager", "compiled"):
        policy.engine = make_engine(engine, policy.model)
        replies = policy.infer_batch(case.observations, noise)
        found = torch.stack([torch.from_numpy(reply["actions"]) for reply in replies])
        assert float((found - expected).abs().max() / expected.abs().max()) < 1e-5


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


# --- torch's compiler

SCOPES = (r".*", r"layers\.1\.|action_out|dense", r"layers\.0\.|state_proj|embed_tok|vision")


@pytest.mark.parametrize("name", ["float32", "float8_e4m3_both", "int4_activations_only"])
def test_traced_parts_give_the_models_actions(name, monkeypatch):
    """The parts of the GPU's engine as graphs, without what the compiler makes of them."""
    lowered = []
    monkeypatch.setattr(compilation, "_compiled", {})
    monkeypatch.setattr(compilation, "_lower", lambda graph, examples: lowered.append(graph) or graph)
    for config in (SMALL, SMALL_PI05):
        for scope in SCOPES[: 1 if name == "float32" else 3]:
            precision = Precision.parse(name, Scope(scope))
            check_compiled(config, precision)
    # Layers of a kind share what is compiled, and so do parts that a scope leaves alone.
    assert len(lowered) <= (19 if name == "float32" else 45)  # of 57


def test_a_compiler_that_does_not_work_is_one_line(monkeypatch):
    def broken(*_: object) -> None:
        raise RuntimeError("Failed to find C compiler.\nPlease specify via CC")

    monkeypatch.setattr(compilation, "_compiled", {})
    monkeypatch.setattr("torch._inductor.compile_fx.compile_fx", broken)
    with pytest.raises(UserError, match=r"\(RuntimeError: Failed to find C compiler.\); use --engine eager"):
        sampled(CompiledEngine(randomised(SMALL), Precision()), batch_for(SMALL))


@pytest.mark.slow
@needs_c
@pytest.mark.parametrize("name", ["float8_e4m3_both", "int8_both"])
def test_compiled_parts_give_the_models_actions(name, tmp_path, monkeypatch):
    """The parts of the GPU's engine, compiled for the CPU."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    for config in (SMALL, SMALL_PI05):
        check_compiled(config, Precision.parse(name))


def check_compiled(config, precision, device="cpu") -> None:
    """Of three models one is free of flips, and all have their evidence."""
    batch, apart = batch_for(config, used=8), []
    for seed in range(3):
        model = randomised(config, seed).to(device)
        exact = sampled(model, batch).cpu()
        handle = quantize_(model, precision) if precision.dtype != "float32" else None
        expected = sampled(model, batch).cpu()
        by_hooks = set(handle.fired) if handle else set()
        if handle:
            handle._fired.clear()
        engine = CompiledEngine(model, precision, handle)
        for _ in range(2):
            found = sampled(engine, batch).cpu()
        if handle:
            assert set(handle.fired) == by_hooks == set(handle.hooked)
        # Sums of products of values on two coarse grids often lie on a tie, which the last bit decides.
        loose = chaotic(precision) or precision.name == "int4_both"
        by_rounding = float((expected - exact).norm()) * (2 if loose else 0.3)
        apart.append(float((found - expected).norm()) / (by_rounding + 2e-5 * float(expected.norm())))
        if apart[-1] < 1:
            return
    raise AssertionError(f"{precision.name}: {apart} times as far apart as allowed")


@pytest.mark.gpu
@pytest.mark.parametrize("config", [SMALL, SMALL_PI05], ids=["pi0", "pi05"])
@pytest.mark.parametrize(
    "name",
    [
        "float32",
        *(f"{dtype}_both" for dtype in QUANTIZED),
        *(f"int4_{mode}" for mode in ("weights_only", "activations_only")),
    ],
)
def test_graphs_give_the_models_actions(name, config):
    check_compiled(config, Precision.parse(name), "cuda")


@pytest.mark.gpu
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("dtype", QUANTIZED)
def test_what_is_rounded_on_a_gpu_is_exact(dtype, kind):
    generator = torch.Generator("cuda").manual_seed(0)
    kept = (0, 1) if dtype in ("int8", "int4") else 0
    for shape in ((2, 1, 1), (3, 15, 1024), (2, 15, 4096), (2, 64, 1152), (1, 576, 16384)):
        whole = torch.randn(*shape[:2], 3 * shape[2], device="cuda", generator=generator).to(kind)
        x = whole[..., shape[2] : 2 * shape[2]]
        for case in (x, -x.abs() - 1, (x * 2).round(), x * 0):
            expected = fake_quantize(case.float(), dtype, kept).to(kind)
            assert torch.equal(rounded(case, dtype), expected)
