"""The compiled engine for GPUs against the model itself; its functions also run on a CPU."""

import pytest
from engine_cases import QUANTIZED, chaotic, needs_c, sampled
from pi0_cases import SMALL, SMALL_PI05, batch_for, randomised

from headless_eval.errors import UserError
from headless_eval.policies.pi0.engine.compiled import compilation
from headless_eval.policies.pi0.engine.compiled.engine import CompiledEngine
from headless_eval.quant import quantize_
from headless_eval.quant.precision import Precision, Scope

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
