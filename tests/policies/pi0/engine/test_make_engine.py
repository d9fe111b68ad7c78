"""Which engine computes, and how a policy and a run name it."""

import pytest
import torch
from engine_cases import needs_c
from pi0_cases import load_golden, randomised

from headless_eval import load_policy
from headless_eval.cli.main import main
from headless_eval.config.run import RunConfig
from headless_eval.errors import UserError
from headless_eval.policies.pi0 import engine as engines
from headless_eval.policies.pi0.engine import make_engine
from headless_eval.policies.pi0.engine.cpu import engine as cpu
from headless_eval.quant import quantize_
from headless_eval.quant.precision import Precision
from headless_eval.results.differences import differences


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
    with pytest.raises(UserError, match="flow steps or engine"):
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
