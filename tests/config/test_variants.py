"""Variants as text."""

import pytest

from headless_eval.config.run import RunConfig
from headless_eval.config.stored import run_settings, run_with, to_table
from headless_eval.config.variants import parse_variant, settings_for, variants_of
from headless_eval.contracts.variant import Variant
from headless_eval.errors import UserError
from headless_eval.quant.methods import parse_method
from headless_eval.quant.precision import Precision, Scope


@pytest.mark.parametrize(
    ("text", "name", "settings"),
    [
        ("int8_both", "int8_both", {}),
        ("int8", "int8_weights_only", {}),
        ("duquant_w4a8", "duquant_w4a8", {}),
        ("float32+flow_steps=5", "float32_flow_steps_5", {"flow_steps": 5}),
        (
            "int4_both+engine=eager+flow_steps=5",
            "int4_both_engine_eager_flow_steps_5",
            {"engine": "eager", "flow_steps": 5},
        ),
        ("fast=float32+flow_steps=2", "fast", {"flow_steps": 2}),
        ("mine.py:halve(bits=6)+flow_steps=2", "mine_halve_bits_6_flow_steps_2", {"flow_steps": 2}),
    ],
)
def test_a_text_names_a_variant(text, name, settings):
    variant = parse_variant(text)
    assert (variant.name, dict(variant.settings)) == (name, settings)
    if text != "int8":  # the mode is left out
        assert settings_for([variant])["variant"] == [text]


@pytest.mark.parametrize("text", ["int9_both", "fast=", "", "+flow_steps=5"])
def test_what_names_no_variant_is_refused(text):
    with pytest.raises(UserError):
        parse_variant(text)


def test_each_variant_is_there_once_and_names_are_unique():
    assert [one.name for one in variants_of(["int8", "int8_weights_only"])] == ["int8_weights_only"]
    with pytest.raises(UserError, match="named a"):
        variants_of(["a=int8_both", "a=int4_both"])


def test_objects_become_settings_of_a_run():
    scope = Scope("expert", None, (("mlp", "w8a8"),))
    found = settings_for(["float32", parse_method("rtn_w4a8"), Precision("int8", "both", scope)][::2])
    assert found == {"variant": ["float32", "int8_both"], "include": "expert", "exclude": None, "bits": []}
    with pytest.raises(UserError, match="one scope"):
        settings_for([Precision("int8", "both", scope), Precision("int4", "both")])


def test_a_run_keeps_its_variants():
    config = run_with({"variant": ["int8_both", "float32", "float32+flow_steps=5"]})
    assert [one.name for one in config.variants] == ["float32", "int8_both", "float32_flow_steps_5"]
    assert isinstance(config.variants[0], Variant)
    assert [one.name for one in config.precisions] == ["int8_both", "float32", "float32"]
    assert run_settings(to_table(config)).variants == config.variants


def test_variants_and_dtypes_exclude_each_other():
    with pytest.raises(UserError, match="leave --dtypes and --modes out"):
        run_with({"variant": ["int8_both"], "dtypes": ["int8"]})
    assert RunConfig(policy="zero", variant=("float32",)).variants
