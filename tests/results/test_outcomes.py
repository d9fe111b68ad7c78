"""Outcomes finer than success: units and directions."""

import re

from headless_eval.results.outcomes import QUANTITIES, REASONS, unit_of, worse_of


def test_a_unit_is_the_manifests_or_the_quantitys_own():
    assert unit_of("path_length", {"metrics": {"path_length": "rad"}}) == "rad"
    assert unit_of("final_error_mm", {}) == "mm"
    assert unit_of("path_length", {}) == unit_of("coverage", {"metrics": None}) == ""


def test_an_unknown_outcome_has_no_direction():
    assert worse_of("coverage") is None
    assert (worse_of("path_length"), worse_of("smoothness_sparc")) == ("more", "less")


def test_names_are_fit_for_columns_and_sentences_stand_alone():
    for name, one in QUANTITIES.items():
        assert one.name == name
        assert re.fullmatch(r"[a-z_]+", name)
        assert one.formula
        assert not one.sentence.endswith(".")
    for name, sentence in REASONS.items():
        assert re.fullmatch(r"[a-z_]+", name)
        assert not sentence.endswith(".")
