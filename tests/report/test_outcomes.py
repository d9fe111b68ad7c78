"""Outcomes compared with the baseline's: which pairs, which means, which names, and one family of tests."""

import numpy as np
import pytest
from record_cases import broken, manifest, record
from scipy import stats

from headless_eval.config.margins import parse_margin
from headless_eval.errors import UserError
from headless_eval.report.outcomes import LIMITED_TIME, Values, compare_outcomes
from headless_eval.report.statistics import holm

MANIFEST = manifest(metrics={"path_length": "rad", "time_to_success_s": "s", "tilt": "°"})


def run(**factors):
    """Return records of 30 episodes of float32, and of variants whose paths are so many times as long."""
    generator = np.random.default_rng(1)
    lengths = generator.lognormal(1, 0.3, 30)
    found = []
    for name, factor in {"float32": 1.0, **factors}.items():
        own = lengths * factor * (generator.lognormal(0, 0.1, 30) if name != "float32" else 1)
        for episode, length in enumerate(own):
            failed = name != "float32" and episode < 3
            metrics = {"path_length": float(length), "drops": float(failed)}
            if not failed:
                metrics["time_to_success_s"] = float(length)
            found.append(
                record(
                    configuration=name,
                    episode=episode,
                    metrics=metrics,
                    steps=450 if failed else round(15 * length),
                    **({"status": "failure", "success": False} if failed else {}),
                )
            )
    return found


def by_name(found):
    return {(one.configuration, one.outcome.name): one for one in found}


def test_means_changes_and_p_values_are_those_of_the_pairs():
    found = by_name(compare_outcomes(run(int4_both=2.0), MANIFEST, "float32"))
    path = found["int4_both", "path_length"]
    records = run(int4_both=2.0)
    before, after = (
        np.array([one.metrics["path_length"] for one in records if one.configuration == name])
        for name in ("float32", "int4_both")
    )
    assert (path.pairs, path.of, path.differing) == (30, 30, 30)
    assert path.change.value == pytest.approx(after.mean() / before.mean() - 1)
    assert path.p_value == pytest.approx(stats.wilcoxon(after - before, method="exact").pvalue)
    assert path.decided == "worse"
    assert path.outcome.unit == "rad"


def test_a_shorter_path_is_better_and_what_has_no_direction_is_different():
    assert (
        by_name(compare_outcomes(run(short=0.5), MANIFEST, "float32"))["short", "path_length"].decided
        == "better"
    )
    turned = [record(episode=number, metrics={"tilt": 1.0 * number}) for number in range(20)]
    turned += [
        record(configuration="b", episode=number, metrics={"tilt": 2.0 + 1.1 * number})
        for number in range(20)
    ]
    (tilt,) = compare_outcomes(turned, MANIFEST, "float32")
    assert (tilt.decided, tilt.outcome.unit, tilt.outcome.relative) == ("different", "°", False)


def test_the_time_to_success_is_of_pairs_that_succeed_in_both_and_the_limited_time_of_all():
    found = by_name(compare_outcomes(run(int4_both=1.0), MANIFEST, "float32"))
    time, limited = found["int4_both", "time_to_success_s"], found["int4_both", LIMITED_TIME]
    assert (time.pairs, time.of, limited.pairs) == (27, 30, 30)
    period = record().steps and run()[0].metrics["time_to_success_s"] / run()[0].steps
    failed = [one for one in run(int4_both=1.0) if not one.success]
    assert limited.mean > time.mean
    assert limited.mean == pytest.approx(
        np.mean(
            [
                period * (450 if one in failed else one.steps)
                for one in run(int4_both=1.0)
                if one.configuration != "float32"
            ]
        )
    )


def test_errors_and_other_episodes_form_no_pair():
    records = run(int4_both=1.0)
    records[0] = broken(episode=0)
    records[1] = record(episode=1, seed=8, metrics=records[1].metrics)
    assert by_name(compare_outcomes(records, MANIFEST, "float32"))["int4_both", "path_length"].of == 28


def test_all_outcomes_and_variants_are_one_family():
    found = compare_outcomes(run(a=1.1, b=1.0), MANIFEST, "float32")
    assert len(found) == 8
    assert [one.p_holm for one in found] == holm([one.p_value for one in found])
    alone = by_name(compare_outcomes(run(a=1.1), MANIFEST, "float32"))["a", "path_length"]
    assert alone.detectable < by_name(found)["a", "path_length"].detectable


def test_few_different_pairs_have_no_change_and_a_run_without_outcomes_none():
    found = by_name(compare_outcomes(run(int4_both=1.0), MANIFEST, "float32"))
    assert found["int4_both", "drops"].change is None
    assert found["int4_both", "drops"].differing == 3
    assert compare_outcomes([record(), record(configuration="b")], MANIFEST, "float32") == ()
    assert compare_outcomes(run(a=1.0), MANIFEST, "bfloat16") == ()


def test_an_outcome_is_named_without_its_unit_and_by_the_margins_unit():
    values = Values(run(), MANIFEST)
    assert values.find(parse_margin("", "time_to_success=10%")).relative
    assert not values.find(parse_margin("", "path_length=0.5rad")).relative
    both = Values([record(metrics={"final_error_mm": 1.0, "final_error_deg": 1.0})], MANIFEST)
    assert both.find(parse_margin("", "final_error=1mm")).name == "final_error_mm"
    assert both.find(parse_margin("", "final_error=1deg")).name == "final_error_deg"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("path_lenght=10%", "did you mean path_length"),
        ("path_length=1mm", "path_length is in rad, not in mm"),
        ("drops=1mm", "drops is a number, not in mm"),
        ("final_error=10%", "final_error is ambiguous: say final_error_mm or final_error_deg"),
    ],
)
def test_wrong_names_and_units_say_what_is_right(text, said):
    records = [*run(), record(episode=99, metrics={"final_error_mm": 1.0, "final_error_deg": 1.0})]
    with pytest.raises(UserError, match=said):
        Values(records, MANIFEST).find(parse_margin("", text))
